// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

interface ERC20 {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// English auctions paid in one ERC-20 token. The highest bid lies here until it is outbid, and
/// then goes back to its bidder, or until the seller accepts it. Bidders approve this contract.
/// What is sold is only named: handing it over is between seller and bidder.
/// For demonstrations and tests only.
contract Auction {
    struct Lot {
        address seller;
        address bidder;
        uint256 item;
        uint256 reserve;
        uint256 highest;
        bool accepted;
    }

    ERC20 public immutable token;
    /// How many auctions there have been; they are numbered from 0.
    uint256 public count;
    mapping(uint256 => Lot) public lots;

    event AuctionCreated(
        uint256 indexed auction, address indexed seller, uint256 item, uint256 reserve
    );
    event BidPlaced(uint256 indexed auction, address indexed bidder, uint256 amount);
    event BidAccepted(uint256 indexed auction, address indexed bidder, uint256 amount);

    error NotOpen(uint256 auction);
    error BidTooLow(uint256 auction, uint256 amount, uint256 least);
    error NotSeller(uint256 auction, address caller);
    error NoBid(uint256 auction);
    error PaymentFailed();

    constructor(ERC20 paidIn) {
        token = paidIn;
    }

    function create(uint256 item, uint256 reserve) external returns (uint256 auction) {
        auction = count++;
        lots[auction].seller = msg.sender;
        lots[auction].item = item;
        lots[auction].reserve = reserve;
        emit AuctionCreated(auction, msg.sender, item, reserve);
    }

    /// The first bid is at least the reserve, each further one above the last.
    function bid(uint256 auction, uint256 amount) external {
        Lot storage lot = openLot(auction);
        (address outbid, uint256 refund) = (lot.bidder, lot.highest);
        uint256 least = outbid == address(0) ? lot.reserve : refund + 1;
        if (amount < least) revert BidTooLow(auction, amount, least);
        lot.bidder = msg.sender;
        lot.highest = amount;
        emit BidPlaced(auction, msg.sender, amount);
        if (!token.transferFrom(msg.sender, address(this), amount)) revert PaymentFailed();
        if (outbid != address(0)) pay(outbid, refund);
    }

    /// Ends the auction; the seller gets the highest bid.
    function accept(uint256 auction) external {
        Lot storage lot = openLot(auction);
        if (msg.sender != lot.seller) revert NotSeller(auction, msg.sender);
        if (lot.bidder == address(0)) revert NoBid(auction);
        lot.accepted = true;
        emit BidAccepted(auction, lot.bidder, lot.highest);
        pay(lot.seller, lot.highest);
    }

    function openLot(uint256 auction) private view returns (Lot storage lot) {
        lot = lots[auction];
        if (lot.seller == address(0) || lot.accepted) revert NotOpen(auction);
    }

    function pay(address to, uint256 amount) private {
        if (!token.transfer(to, amount)) revert PaymentFailed();
    }
}
