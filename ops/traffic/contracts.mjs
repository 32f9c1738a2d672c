// The compiled contracts, and the calls to them as transaction data.
//
//   creation('Auction', token)                                  → the data of a transaction that deploys it
//   invocation('DemoToken', 'transfer(address,uint256)', to, 5) → the data of a transaction that calls it
//
// Arguments are addresses, numbers, or arrays of them; empty `bytes` are written like an empty array.
import { readFileSync } from 'node:fs';

const artifacts = JSON.parse(readFileSync(new URL('../contracts/artifacts.json', import.meta.url), 'utf8'));

export const creation = (contract, ...args) => artifacts[contract].bytecode + encode(args);

export function invocation(contract, signature, ...args) {
  const selector = artifacts[contract].methods[signature];
  if (selector === undefined)
    throw new Error(`${contract} has no method ${signature}: run ops/contracts/compile.mjs`);
  return `0x${selector}${encode(args)}`;
}

/** Each contract's events as [contract, name, signature, number of indexed arguments]. */
export const events = () =>
  Object.entries(artifacts).flatMap(([contract, { abi }]) =>
    abi
      .filter((entry) => entry.type === 'event')
      .map(({ name, inputs }) => [
        contract,
        name,
        `${name}(${inputs.map((input) => input.type)})`,
        inputs.filter((input) => input.indexed).length,
      ]),
  );

const word = (value) => BigInt(value).toString(16).padStart(64, '0');

function encode(args) {
  let head = '';
  let tail = '';
  for (const arg of args) {
    if (Array.isArray(arg)) {
      head += word(32 * args.length + tail.length / 2);
      tail += word(arg.length) + arg.map(word).join('');
    } else {
      head += word(arg);
    }
  }
  return head + tail;
}
