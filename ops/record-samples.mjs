#!/usr/bin/env node
// Records samples/: a few thousand blocks with their transactions and receipts, exactly as anvil serves
// them. Starts an anvil of its own on loopback, lets ops/traffic.mjs fill it, reads everything back and
// writes blocks.jsonl.zst, receipts.jsonl.zst and README.md. The same anvil and seed give the same files.
//
//   node ops/record-samples.mjs [--out DIR] [--anvil PATH] [--rounds N] [--per-block N]
//
//   --out DIR       where the files go (samples)
//   --anvil PATH    the program (that of ops/setup.sh --node)
//   --rounds N      rounds of traffic, a block each (2060)
//   --per-block N   transactions in a block, on average (22)
//
// Needs Node.js 18 or newer and zstd. Exit: 0 recorded, 1 not.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { events } from './traffic/contracts.mjs';
import { Node, hex } from './traffic/rpc.mjs';

const GENESIS_TIME = 1735689600; // 2025-01-01T00:00:00Z
const SECONDS_PER_BLOCK = 12;
const BLOCKS_PER_BATCH = 50;

const root = fileURLToPath(new URL('..', import.meta.url));
const { values: options } = parseArgs({
  options: {
    out: { type: 'string', default: join(root, 'samples') },
    anvil: { type: 'string', default: join(root, 'target/tools/anvil') },
    rounds: { type: 'string', default: '2060' },
    'per-block': { type: 'string', default: '22' },
  },
});

/** Runs a program to its end; what it prints goes where this script's own output goes. */
async function run(program, args, stdio = 'inherit') {
  const child = spawn(program, args, { stdio });
  const [code, signal] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${program} ${args[0]} ended with ${code ?? signal}`);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Calls `use` with a fresh node, and stops the node whatever happens. */
async function withAnvil(use) {
  const port = await freePort();
  // Nobody asks for old states, and anvil would leave gigabytes of them in the home directory.
  const control = ['--no-mining', '--order', 'fees', '--timestamp', GENESIS_TIME, '--prune-history'];
  const anvil = spawn(options.anvil, ['--host', '127.0.0.1', '--port', port, '--quiet', ...control], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(anvil, 'exit');
  try {
    await Promise.race([once(anvil, 'spawn'), ended]);
    const node = new Node(`http://127.0.0.1:${port}`);
    await node.call('anvil_setBlockTimestampInterval', SECONDS_PER_BLOCK);
    await use(node);
  } finally {
    if (anvil.pid !== undefined && anvil.exitCode === null) {
      anvil.kill('SIGTERM');
      await ended;
    }
  }
}

/** A file of JSON lines behind zstd. */
class Lines {
  constructor(path) {
    this.path = path;
    this.zstd = spawn('zstd', ['-19', '-q', '-f', '-o', path, '-'], {
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    this.ended = once(this.zstd, 'exit');
  }

  async write(values) {
    const text = values.map((value) => `${JSON.stringify(value)}\n`).join('');
    if (!this.zstd.stdin.write(text)) await once(this.zstd.stdin, 'drain');
  }

  async close() {
    this.zstd.stdin.end();
    const [code] = await this.ended;
    if (code !== 0) throw new Error(`zstd could not write ${this.path}`);
  }
}

/** The results of one method for a range of blocks; fails where parsing them would lose anything. */
async function read(node, calls) {
  const text = await node.batchText(calls);
  if (JSON.stringify(JSON.parse(text)) !== text)
    throw new Error(`${calls[0][0]}: the answer does not survive parsing`);
  return node.parse(text, calls).map(({ result, error }) => {
    if (!result) throw new Error(`${calls[0][0]}: ${error?.message ?? 'no result'}`);
    return result;
  });
}

async function record(node, counts) {
  const blockLines = new Lines(join(options.out, 'blocks.jsonl.zst'));
  const receiptLines = new Lines(join(options.out, 'receipts.jsonl.zst'));
  const head = Number(await node.call('eth_blockNumber'));
  for (let from = 0; from <= head; from += BLOCKS_PER_BATCH) {
    const numbers = Array.from({ length: Math.min(BLOCKS_PER_BATCH, head + 1 - from) }, (_, index) =>
      hex(from + index),
    );
    const blocks = await read(
      node,
      numbers.map((number) => ['eth_getBlockByNumber', number, true]),
    );
    const receipts = await read(
      node,
      numbers.map((number) => ['eth_getBlockReceipts', number]),
    );
    await blockLines.write(blocks);
    await receiptLines.write(
      blocks.map(({ number, hash }, index) => ({ number, hash, receipts: receipts[index] })),
    );
    blocks.forEach((block, index) => counts.add(block, receipts[index]));
  }
  await blockLines.close();
  await receiptLines.close();
}

/** What the recording holds, for its README. */
class Counts {
  constructor(kinds) {
    this.kinds = kinds;
    this.blocks = this.transactions = this.failed = 0;
    this.senders = new Set();
    this.addresses = new Set();
    this.logs = new Map();
    this.contracts = [];
  }

  /** Events are told apart by their first topic and how many of their arguments are indexed. */
  static async of(node) {
    const kinds = new Map();
    for (const [contract, name, signature, indexed] of events()) {
      const topic = await node.call('web3_sha3', `0x${Buffer.from(signature).toString('hex')}`);
      kinds.set(`${topic}/${indexed}`, `${name} (${contract})`);
    }
    return new Counts(kinds);
  }

  add(block, receipts) {
    this.blocks++;
    this.head = block;
    this.transactions += block.transactions.length;
    for (const { from, to, status, contractAddress, logs } of receipts) {
      this.senders.add(from);
      this.addresses.add(from).add(to ?? contractAddress);
      if (status === '0x0') this.failed++;
      if (contractAddress && status === '0x1') this.contracts.push(contractAddress);
      logs.forEach((log) => this.addLog(log));
    }
  }

  addLog({ topics }) {
    const kind = this.kinds.get(`${topics[0]}/${topics.length - 1}`) ?? 'other';
    this.logs.set(kind, (this.logs.get(kind) ?? 0) + 1);
  }
}

const number = (value) => value.toLocaleString('en');
const size = (file) => number(statSync(join(options.out, file)).size);

function readme(counts, client) {
  const [token, collectible, items, auction] = counts.contracts;
  const logs = [...counts.logs].sort(([, a], [, b]) => b - a);
  return `# samples

A recording of a real Ethereum node (${client}) under made-up traffic: what \`cairn demo\` loads first, and
what benchmarks run on where no other data is at hand. Nothing in it comes from a public network.

| file | a line is | bytes |
|---|---|---|
| \`blocks.jsonl.zst\` | the result of \`eth_getBlockByNumber(n, true)\` | ${size('blocks.jsonl.zst')} |
| \`receipts.jsonl.zst\` | \`{"number","hash","receipts"}\`, the last being the result of \`eth_getBlockReceipts(n)\` | ${size('receipts.jsonl.zst')} |

Lines go by height from 0 to ${number(counts.blocks - 1)}, one a block, as the node served them, Zstandard level 19.

| what | how many |
|---|---|
| blocks, ${SECONDS_PER_BLOCK} s apart | ${number(counts.blocks)} |
| transactions | ${number(counts.transactions)} |
| of these failed | ${number(counts.failed)} |
| addresses that sent one | ${number(counts.senders.size)} |
| addresses that sent or received one | ${number(counts.addresses.size)} |
${logs.map(([kind, count]) => `| logs: ${kind} | ${number(count)} |`).join('\n')}

- Chain id 31337; genesis at ${new Date(GENESIS_TIME * 1000).toISOString()}; the last block's hash is \`${counts.head.hash}\`.
- Contracts: DemoToken (ERC-20) \`${token}\`, DemoCollectible (ERC-721) \`${collectible}\`,
  DemoItems (ERC-1155) \`${items}\`, Auction \`${auction}\`; their sources are in \`ops/contracts\`.
- The node's ten own accounts hold 10,000 ether each at block 0 and sign what they send. All other senders are
  impersonated: their transactions have zeros for a signature.
- Every movement of ether is the value of a transaction or a fee: no contract sends or receives any. Tips go
  to the zero address, the node's fee recipient.
- Receipts have a field \`blockTimestamp\` that the standard lacks; it is a number there, and a hex string in logs.

Made by \`node ops/record-samples.mjs\`, which gives the same bytes again with the same node and zstd.
Licence: Apache-2.0, as the rest of this repository.
`;
}

try {
  mkdirSync(options.out, { recursive: true });
  await withAnvil(async (node) => {
    const script = join(root, 'ops/traffic.mjs');
    const traffic = [
      '--rpc',
      node.url,
      '--mine',
      '--blocks',
      options.rounds,
      '--per-block',
      options['per-block'],
    ];
    await run(process.execPath, [script, ...traffic]);
    const counts = await Counts.of(node);
    await record(node, counts);
    const client = await node.call('web3_clientVersion');
    writeFileSync(join(options.out, 'README.md'), readme(counts, client));
    console.log(
      `${number(counts.blocks)} blocks, ${number(counts.transactions)} transactions in ${options.out}`,
    );
  });
} catch (error) {
  console.error(`record-samples: ${error.message}`);
  process.exit(1);
}
