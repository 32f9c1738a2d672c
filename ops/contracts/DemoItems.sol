// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

interface ERC1155Receiver {
    function onERC1155Received(
        address operator,
        address from,
        uint256 id,
        uint256 value,
        bytes calldata data
    ) external returns (bytes4);

    function onERC1155BatchReceived(
        address operator,
        address from,
        uint256[] calldata ids,
        uint256[] calldata values,
        bytes calldata data
    ) external returns (bytes4);
}

/// An ERC-1155 set of items of which anyone may mint any number.
/// For demonstrations and tests only.
contract DemoItems {
    mapping(address => mapping(uint256 => uint256)) private balances;
    mapping(address => mapping(address => bool)) public isApprovedForAll;

    event TransferSingle(
        address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value
    );
    event TransferBatch(
        address indexed operator,
        address indexed from,
        address indexed to,
        uint256[] ids,
        uint256[] values
    );
    event ApprovalForAll(address indexed owner, address indexed operator, bool approved);

    error InsufficientBalance(address holder, uint256 id, uint256 balance, uint256 needed);
    error NotApproved(address operator, address owner);
    error LengthsDiffer(uint256 ids, uint256 values);
    error NoRecipient();
    error RefusedBy(address recipient);

    function mint(address to, uint256 id, uint256 value) external {
        if (to == address(0)) revert NoRecipient();
        balances[to][id] += value;
        emit TransferSingle(msg.sender, address(0), to, id, value);
        askReceiver(address(0), to, id, value, "");
    }

    function balanceOf(address holder, uint256 id) public view returns (uint256) {
        return balances[holder][id];
    }

    function balanceOfBatch(address[] calldata holders, uint256[] calldata ids)
        external
        view
        returns (uint256[] memory held)
    {
        if (holders.length != ids.length) revert LengthsDiffer(holders.length, ids.length);
        held = new uint256[](ids.length);
        for (uint256 i = 0; i < ids.length; i++) held[i] = balances[holders[i]][ids[i]];
    }

    function setApprovalForAll(address operator, bool approved) external {
        isApprovedForAll[msg.sender][operator] = approved;
        emit ApprovalForAll(msg.sender, operator, approved);
    }

    function safeTransferFrom(
        address from,
        address to,
        uint256 id,
        uint256 value,
        bytes calldata data
    ) external {
        checkParties(from, to);
        move(from, to, id, value);
        emit TransferSingle(msg.sender, from, to, id, value);
        askReceiver(from, to, id, value, data);
    }

    function safeBatchTransferFrom(
        address from,
        address to,
        uint256[] calldata ids,
        uint256[] calldata values,
        bytes calldata data
    ) external {
        checkParties(from, to);
        if (ids.length != values.length) revert LengthsDiffer(ids.length, values.length);
        for (uint256 i = 0; i < ids.length; i++) move(from, to, ids[i], values[i]);
        emit TransferBatch(msg.sender, from, to, ids, values);
        if (to.code.length == 0) return;
        bytes4 answer =
            ERC1155Receiver(to).onERC1155BatchReceived(msg.sender, from, ids, values, data);
        if (answer != ERC1155Receiver.onERC1155BatchReceived.selector) revert RefusedBy(to);
    }

    /// ERC-165, ERC-1155 and its metadata.
    function supportsInterface(bytes4 id) external pure returns (bool) {
        return id == 0x01ffc9a7 || id == 0xd9b67a26 || id == 0x0e89341c;
    }

    function uri(uint256) external pure returns (string memory) {
        return "data:application/json,{}";
    }

    function checkParties(address from, address to) private view {
        if (to == address(0)) revert NoRecipient();
        if (msg.sender != from && !isApprovedForAll[from][msg.sender]) {
            revert NotApproved(msg.sender, from);
        }
    }

    function move(address from, address to, uint256 id, uint256 value) private {
        uint256 balance = balances[from][id];
        if (balance < value) revert InsufficientBalance(from, id, balance, value);
        balances[from][id] = balance - value;
        balances[to][id] += value;
    }

    function askReceiver(address from, address to, uint256 id, uint256 value, bytes memory data)
        private
    {
        if (to.code.length == 0) return;
        bytes4 answer = ERC1155Receiver(to).onERC1155Received(msg.sender, from, id, value, data);
        if (answer != ERC1155Receiver.onERC1155Received.selector) revert RefusedBy(to);
    }
}
