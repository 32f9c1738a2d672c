// People, what they own and what they do next: a seeded script of transactions that make sense.
//
//   const world = new World({ random, accounts, contracts: { token, collectible, items, auction } });
//   world.round(20)     → { transactions, newcomers }: 20 transactions { from, to, value?, data?, gas } in the
//                         order in which to mine them, and who is paid ether for the first time and sends
//                         from the next round on
//
// The world assumes that what it scripted has happened. Where it has not (a reorganisation took it
// back), later transactions fail on the chain, and whoever is `refused` for want of ether gets some.
import { invocation } from './contracts.mjs';

const ETHER = 10n ** 18n;
const HUNDREDTH = ETHER / 100n;
const WITHOUT_LIMIT = 2n ** 256n - 1n;
const MOST_PEOPLE = 600;
const MOST_AUCTIONS = 20;
const KINDS_OF_ITEM = 12;
const GAS_OF_PAYMENT = 25_000;
const GAS_OF_CALL = 250_000;

const ACTS = [
  [32, 'payEther'],
  [30, 'sendTokens'],
  [7, 'mintCollectible'],
  [7, 'sendCollectible'],
  [4, 'mintItems'],
  [5, 'sendItems'],
  [3, 'sendBatchOfItems'],
  [2, 'createAuction'],
  [8, 'placeBid'],
  [2, 'acceptBid'],
  [2, 'fail'],
];

export class World {
  constructor({ random, accounts, contracts }) {
    this.random = random;
    this.contracts = contracts;
    this.treasury = accounts[0];
    this.bank = accounts;
    this.people = [...accounts];
    this.newcomers = [];
    this.broke = new Set();
    this.tokens = new Map([[this.treasury, 10n ** 9n * ETHER]]);
    this.bidders = new Set();
    this.collectibles = [];
    this.items = new Map();
    this.auctions = [];
    /** The number that the next auction gets; read from the contract before each round. */
    this.nextAuction = 0;
  }

  round(size) {
    const rescues = [...this.broke].slice(0, size).map((person) => this.rescue(person));
    const acts = Array.from(
      { length: size - rescues.length },
      () => this[this.random.pickWeighted(ACTS)]() ?? this.payEther(),
    );
    const newcomers = this.newcomers.splice(0);
    this.people.push(...newcomers);
    return { transactions: [...rescues, ...acts], newcomers };
  }

  /** The node refused what this person sent, most likely for want of ether. */
  refused(person) {
    this.broke.add(person);
  }

  payEther() {
    if (this.random.chance(0.25) && this.people.length + this.newcomers.length < MOST_PEOPLE)
      return this.welcome();
    const value = (HUNDREDTH / 100n) * BigInt(this.random.between(1, 500));
    const memo = this.random.chance(0.05) ? { data: '0x7468616e6b20796f75' } : {};
    return { from: this.somebody(), to: this.somebody(), value, gas: GAS_OF_PAYMENT, ...memo };
  }

  welcome() {
    const newcomer = this.random.address(this.people.length + this.newcomers.length);
    this.newcomers.push(newcomer);
    return this.endow(newcomer);
  }

  rescue(person) {
    this.broke.delete(person);
    return this.endow(person);
  }

  /** One of the node's own accounts pays enough for a long life. */
  endow(to) {
    return { from: this.random.pick(this.bank), to, value: 5n * ETHER, gas: GAS_OF_PAYMENT };
  }

  sendTokens(from = this.somebody(), to = this.somebody()) {
    const sender = this.held(from) > HUNDREDTH ? from : this.treasury;
    const most = sender === this.treasury ? 1000n * ETHER : this.held(sender) / 4n;
    const value = (most * BigInt(this.random.between(1, 1000))) / 1000n;
    this.moveTokens(sender, to, value);
    return this.invoke(sender, 'token', 'transfer(address,uint256)', to, value);
  }

  mintCollectible() {
    const owner = this.somebody();
    const id = this.collectibles.length + 1;
    this.collectibles.push({ id, owner });
    return this.invoke(owner, 'collectible', 'mint(address,uint256)', owner, id);
  }

  sendCollectible() {
    const collectible = this.random.pick(this.collectibles);
    if (!collectible) return undefined;
    const [from, to] = [collectible.owner, this.somebody()];
    collectible.owner = to;
    return this.invoke(
      from,
      'collectible',
      'transferFrom(address,address,uint256)',
      from,
      to,
      collectible.id,
    );
  }

  mintItems() {
    const owner = this.somebody();
    const [id, value] = [this.random.between(1, KINDS_OF_ITEM), this.random.between(1, 100)];
    this.moveItems(undefined, owner, id, value);
    return this.invoke(owner, 'items', 'mint(address,uint256,uint256)', owner, id, value);
  }

  sendItems() {
    const [from, to, [parcel]] = this.parcels(1);
    if (!parcel) return undefined;
    this.moveItems(from, to, ...parcel);
    return this.invoke(
      from,
      'items',
      'safeTransferFrom(address,address,uint256,uint256,bytes)',
      from,
      to,
      ...parcel,
      [],
    );
  }

  sendBatchOfItems() {
    const [from, to, parcels] = this.parcels(4);
    if (parcels.length < 2) return undefined;
    parcels.forEach((parcel) => this.moveItems(from, to, ...parcel));
    const [ids, values] = [parcels.map(([id]) => id), parcels.map(([, value]) => value)];
    return this.invoke(
      from,
      'items',
      'safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)',
      from,
      to,
      ids,
      values,
      [],
    );
  }

  createAuction() {
    if (this.auctions.length === MOST_AUCTIONS) return undefined;
    const seller = this.somebody();
    const [item, reserve] = [
      this.random.between(1, 10_000),
      HUNDREDTH * BigInt(this.random.between(100, 5000)),
    ];
    this.auctions.push({ id: this.nextAuction++, seller, reserve, highest: 0n, bidder: undefined });
    return this.invoke(seller, 'auction', 'create(uint256,uint256)', item, reserve);
  }

  /** Before the first bid of all comes the approval, and before a bid too high the money for it. */
  placeBid() {
    const auction = this.random.pick(this.auctions);
    const bidder = this.somebody();
    if (!auction || bidder === auction.seller) return undefined;
    if (!this.bidders.has(bidder)) return this.approveAuction(bidder);
    const least = auction.bidder ? (auction.highest * 11n) / 10n : auction.reserve;
    const amount = least + HUNDREDTH * BigInt(this.random.between(1, 500));
    if (this.held(bidder) < amount) return this.sendTokens(this.treasury, bidder);
    this.moveTokens(bidder, undefined, amount);
    if (auction.bidder) this.moveTokens(undefined, auction.bidder, auction.highest);
    Object.assign(auction, { bidder, highest: amount });
    return this.invoke(bidder, 'auction', 'bid(uint256,uint256)', auction.id, amount);
  }

  approveAuction(bidder) {
    this.bidders.add(bidder);
    return this.invoke(bidder, 'token', 'approve(address,uint256)', this.contracts.auction, WITHOUT_LIMIT);
  }

  acceptBid() {
    const auction = this.random.pick(this.auctions.filter(({ bidder }) => bidder));
    if (!auction) return undefined;
    this.auctions.splice(this.auctions.indexOf(auction), 1);
    this.moveTokens(undefined, auction.seller, auction.highest);
    return this.invoke(auction.seller, 'auction', 'accept(uint256)', auction.id);
  }

  /** A transaction that gets into a block and fails there. */
  fail() {
    const [from, to] = [this.somebody(), this.somebody()];
    return this.random.pick([
      () => this.invoke(from, 'token', 'transfer(address,uint256)', to, WITHOUT_LIMIT),
      () =>
        this.invoke(from, 'collectible', 'transferFrom(address,address,uint256)', from, to, WITHOUT_LIMIT),
      () => this.invoke(from, 'auction', 'bid(uint256,uint256)', WITHOUT_LIMIT, 1),
      () => ({ ...this.invoke(from, 'token', 'transfer(address,uint256)', to, 0), gas: 24_000 }),
      () => ({ from, to: this.contracts.items, value: 1n, gas: GAS_OF_CALL }),
    ])();
  }

  somebody() {
    return this.random.pickSkewed(this.people);
  }

  invoke(from, contract, signature, ...args) {
    return {
      from,
      to: this.contracts[contract],
      data: invocation(NAMES[contract], signature, ...args),
      gas: GAS_OF_CALL,
    };
  }

  held(holder) {
    return this.tokens.get(holder) ?? 0n;
  }

  moveTokens(from, to, value) {
    if (from) this.tokens.set(from, this.held(from) - value);
    if (to) this.tokens.set(to, this.held(to) + value);
  }

  moveItems(from, to, id, value) {
    const change = (owner, by) => {
      if (!this.items.has(owner)) this.items.set(owner, new Map());
      const owned = this.items.get(owner);
      const left = (owned.get(id) ?? 0) + by;
      if (left === 0) owned.delete(id);
      else owned.set(id, left);
    };
    if (from) change(from, -value);
    change(to, value);
  }

  /** Somebody who owns items, somebody else, and up to `most` [kind, number] that the first could send. */
  parcels(most) {
    const from = this.random.pick([...this.items.keys()]);
    const owned = [...(this.items.get(from) ?? [])].slice(0, most);
    return [from, this.somebody(), owned.map(([id, value]) => [id, this.random.between(1, value)])];
  }
}

/** The contracts that a world needs: what it calls each, and the name of its source. */
export const NAMES = {
  token: 'DemoToken',
  collectible: 'DemoCollectible',
  items: 'DemoItems',
  auction: 'Auction',
};
