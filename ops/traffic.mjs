#!/usr/bin/env node
// Sends life-like traffic to a running anvil: ether payments to and from hundreds of addresses, ERC-20,
// ERC-721 and ERC-1155 transfers, auctions with bids, and now and then a transaction that fails.
// Deploys the contracts of ops/contracts first, and again when they are gone (a node that was reset).
//
//   node ops/traffic.mjs [--rpc URL] [--per-block N] [--blocks N] [--seed TEXT] [--mine]
//
//   --rpc URL       the node (http://127.0.0.1:8545)
//   --per-block N   transactions in a block, on average (8); some blocks have none
//   --blocks N      rounds of traffic, each a block or more; 0 means until stopped (0)
//   --seed TEXT     the same seed on a fresh node gives the same transactions in the same order (cairn)
//   --mine          asks for each block itself (anvil --no-mining); else waits for the node's own
//
// Stops on SIGTERM and SIGINT. Exit: 0 done or stopped, 1 the node refused or went away, 2 usage.
// Needs Node.js 18 or newer and nothing else.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { creation, invocation } from './traffic/contracts.mjs';
import { Random } from './traffic/random.mjs';
import { Node, NodeError, hex } from './traffic/rpc.mjs';
import { NAMES, World } from './traffic/world.mjs';

const POLL_MS = 100;
const GWEI = 10n ** 9n;
const GAS_OF_CREATION = 3_000_000;
/** The node lists impersonated accounts behind its own. */
const OWN_ACCOUNTS = 10;
/** After so many blocks transactions that are still waiting are left to themselves. */
const BLOCKS_TO_WAIT = 5;

class Traffic {
  constructor({ rpc, seed, perBlock, mine }) {
    this.node = new Node(rpc);
    this.random = new Random(seed);
    this.perBlock = perBlock;
    this.mine = mine;
    this.sent = 0;
    this.refused = 0;
  }

  /** A new set of contracts and a world around it. */
  async settleIn() {
    const accounts = (await this.node.call('eth_accounts')).slice(0, OWN_ACCOUNTS);
    const deploy = (names, ...args) => this.deploy(accounts[0], names, ...args);
    const contracts = await deploy(['token', 'collectible', 'items']);
    Object.assign(contracts, await deploy(['auction'], contracts.token));
    this.world = new World({ random: this.random, accounts, contracts });
    console.log(
      `deployed ${Object.entries(contracts)
        .map(([name, address]) => `${NAMES[name]} ${address}`)
        .join(', ')}`,
    );
  }

  async deploy(from, names, ...args) {
    const hashes = await this.mineAll(
      names.map((name) => ({ from, data: creation(NAMES[name], ...args), gas: GAS_OF_CREATION })),
    );
    const receipts = await this.node.batch(hashes.map((hash) => ['eth_getTransactionReceipt', hash]));
    return Object.fromEntries(
      names.map((name, index) => {
        const receipt = receipts[index].result;
        if (receipt?.status !== '0x1')
          throw new NodeError(
            `${NAMES[name]} could not be deployed: has the node mined, and has ${from} funds?`,
          );
        return [name, receipt.contractAddress];
      }),
    );
  }

  async round() {
    const call = { to: this.world.contracts.auction, data: invocation('Auction', 'count()') };
    const count = await this.node.call('eth_call', call, 'latest');
    if (count === '0x') return this.settleIn();
    this.world.nextAuction = Number(count);
    const size = this.random.chance(1 / 40)
      ? 0
      : this.random.between(Math.ceil(this.perBlock / 2), Math.floor(this.perBlock * 1.5));
    const { transactions, newcomers } = this.world.round(size);
    await this.node.batch(newcomers.map((newcomer) => ['anvil_impersonateAccount', newcomer]));
    await this.mineAll(transactions);
  }

  /** Sends the transactions and waits until they are in blocks; returns the hashes of those accepted. */
  async mineAll(transactions) {
    const { hash: head } = await this.node.call('eth_getBlockByNumber', 'latest', false);
    const priced = transactions.map((transaction, index) => ({
      ...transaction,
      ...this.price(transaction, index, transactions.length),
    }));
    const numbered = await this.number(priced);
    const answers = await this.node.batch(
      numbered.map((transaction) => ['eth_sendTransaction', transaction]),
    );
    answers.forEach(({ error }, index) => this.note(numbered[index], error));
    await this.mined(head);
    return answers.flatMap(({ result }) => result ?? []);
  }

  note({ from }, error) {
    if (!error) {
      this.sent++;
      return;
    }
    this.refused++;
    this.world?.refused(from);
    console.error(`traffic: ${from} was refused: ${error.message}`);
  }

  /** The node mines the best paid first: prices that fall keep the order, also inside a batch. */
  price({ to }, index, count) {
    const price = hex(40n * GWEI - (20n * GWEI * BigInt(index)) / BigInt(count));
    const die = this.random.next();
    if (die < 0.2) return { gasPrice: price };
    if (die < 0.25 && to) return { gasPrice: price, accessList: [{ address: to, storageKeys: [] }] };
    return {
      maxFeePerGas: price,
      maxPriorityFeePerGas: hex(GWEI + (GWEI / 100n) * BigInt(this.random.between(0, 100))),
    };
  }

  async number(transactions) {
    const senders = [...new Set(transactions.map(({ from }) => from))];
    const counts = await this.node.batch(
      senders.map((sender) => ['eth_getTransactionCount', sender, 'latest']),
    );
    const next = new Map(senders.map((sender, index) => [sender, Number(counts[index].result)]));
    return transactions.map(({ value = 0, gas, ...rest }) => {
      const nonce = next.get(rest.from);
      next.set(rest.from, nonce + 1);
      return { ...rest, value: hex(value), gas: hex(gas), nonce: hex(nonce) };
    });
  }

  async mined(before) {
    const heads = new Set([before]);
    for (;;) {
      if (this.mine) await this.node.call('evm_mine');
      else await sleep(POLL_MS);
      const [head, pool] = await this.node.batch([
        ['eth_getBlockByNumber', 'latest', false],
        ['txpool_status'],
      ]);
      if (head.error ?? pool.error) throw new NodeError((head.error ?? pool.error).message);
      heads.add(head.result.hash);
      if (heads.size > 1 && (Number(pool.result.pending) === 0 || heads.size > BLOCKS_TO_WAIT)) return;
    }
  }

  summary() {
    return `${this.sent} transactions sent, ${this.refused} refused`;
  }
}

function options() {
  const { values } = parseArgs({
    options: {
      rpc: { type: 'string', default: 'http://127.0.0.1:8545' },
      seed: { type: 'string', default: 'cairn' },
      'per-block': { type: 'string', default: '8' },
      blocks: { type: 'string', default: '0' },
      mine: { type: 'boolean', default: false },
    },
  });
  const whole = (name) => {
    if (!/^\d+$/.test(values[name])) throw new Error(`--${name} wants a whole number, not ${values[name]}`);
    return Number(values[name]);
  };
  return { ...values, perBlock: whole('per-block'), blocks: whole('blocks') };
}

async function main(settings) {
  const traffic = new Traffic(settings);
  const stop = () => {
    console.log(`stopped: ${traffic.summary()}`);
    process.exit(0);
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
  await traffic.settleIn();
  for (let done = 1; settings.blocks === 0 || done <= settings.blocks; done++) {
    await traffic.round();
    if (done % 100 === 0) console.log(`${done} rounds: ${traffic.summary()}`);
  }
  console.log(`done: ${traffic.summary()}`);
}

let settings;
try {
  settings = options();
} catch (error) {
  console.error(`traffic: ${error.message}`);
  process.exit(2);
}
main(settings).catch((error) => {
  console.error(`traffic: ${error.message}`);
  process.exit(1);
});
