// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

interface ERC721Receiver {
    function onERC721Received(address operator, address from, uint256 id, bytes calldata data)
        external
        returns (bytes4);
}

/// An ERC-721 collection in which anyone may mint any number that is still free.
/// For demonstrations and tests only.
contract DemoCollectible {
    string public constant name = "Cairn Demo Collectible";
    string public constant symbol = "CDC";

    mapping(address => uint256) public balanceOf;
    mapping(uint256 => address) public getApproved;
    mapping(address => mapping(address => bool)) public isApprovedForAll;
    mapping(uint256 => address) private owners;

    event Transfer(address indexed from, address indexed to, uint256 indexed id);
    event Approval(address indexed owner, address indexed approved, uint256 indexed id);
    event ApprovalForAll(address indexed owner, address indexed operator, bool approved);

    error AlreadyMinted(uint256 id);
    error NotMinted(uint256 id);
    error NotOwner(address claimed, uint256 id);
    error NotApproved(address operator, uint256 id);
    error NoRecipient();
    error RefusedBy(address recipient);

    function mint(address to, uint256 id) external {
        if (to == address(0)) revert NoRecipient();
        if (owners[id] != address(0)) revert AlreadyMinted(id);
        owners[id] = to;
        balanceOf[to]++;
        emit Transfer(address(0), to, id);
    }

    function ownerOf(uint256 id) public view returns (address owner) {
        owner = owners[id];
        if (owner == address(0)) revert NotMinted(id);
    }

    function approve(address operator, uint256 id) external {
        address owner = ownerOf(id);
        if (msg.sender != owner && !isApprovedForAll[owner][msg.sender]) {
            revert NotApproved(msg.sender, id);
        }
        getApproved[id] = operator;
        emit Approval(owner, operator, id);
    }

    function setApprovalForAll(address operator, bool approved) external {
        isApprovedForAll[msg.sender][operator] = approved;
        emit ApprovalForAll(msg.sender, operator, approved);
    }

    function transferFrom(address from, address to, uint256 id) public {
        address owner = ownerOf(id);
        if (owner != from) revert NotOwner(from, id);
        bool allowed = msg.sender == owner || msg.sender == getApproved[id]
            || isApprovedForAll[owner][msg.sender];
        if (!allowed) revert NotApproved(msg.sender, id);
        if (to == address(0)) revert NoRecipient();
        delete getApproved[id];
        balanceOf[from]--;
        balanceOf[to]++;
        owners[id] = to;
        emit Transfer(from, to, id);
    }

    function safeTransferFrom(address from, address to, uint256 id) external {
        safeTransferFrom(from, to, id, "");
    }

    function safeTransferFrom(address from, address to, uint256 id, bytes memory data) public {
        transferFrom(from, to, id);
        if (to.code.length == 0) return;
        bytes4 answer = ERC721Receiver(to).onERC721Received(msg.sender, from, id, data);
        if (answer != ERC721Receiver.onERC721Received.selector) revert RefusedBy(to);
    }

    /// ERC-165, ERC-721 and its metadata.
    function supportsInterface(bytes4 id) external pure returns (bool) {
        return id == 0x01ffc9a7 || id == 0x80ac58cd || id == 0x5b5e139f;
    }

    function tokenURI(uint256 id) external view returns (string memory) {
        ownerOf(id);
        return "data:application/json,{}";
    }
}
