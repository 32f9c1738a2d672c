// JSON-RPC over HTTP in batches.
//
//   const node = new Node('http://127.0.0.1:8545');
//   await node.call('eth_blockNumber')                         one result, or it throws NodeError
//   await node.batch([['eth_call', …], …])                     one { result } or { error } for each, in order
//
// A node that does not answer is asked again a few times, since nodes restart; then NodeGone is thrown.
// What is sent must therefore be harmless when sent twice (transactions are: they carry nonces).
import { setTimeout as sleep } from 'node:timers/promises';

const ATTEMPTS = 10;
const PAUSE_MS = 500;
const ANSWER_WITHIN_MS = 60_000;

/** The node answered with an error. */
export class NodeError extends Error {}
/** The node did not answer. */
export class NodeGone extends Error {}

export class Node {
  constructor(url) {
    this.url = url;
  }

  async call(method, ...params) {
    const [{ result, error }] = await this.batch([[method, ...params]]);
    if (error) throw new NodeError(`${method}: ${error.message}`);
    return result;
  }

  async batch(calls) {
    if (calls.length === 0) return [];
    return this.parse(await this.batchText(calls), calls);
  }

  /** The body of the answer to a batch as the node sent it. */
  async batchText(calls) {
    const body = JSON.stringify(
      calls.map(([method, ...params], id) => ({ jsonrpc: '2.0', id, method, params })),
    );
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.post(body);
      } catch (error) {
        if (attempt === ATTEMPTS)
          throw new NodeGone(`${this.url} does not answer: ${error.cause?.message ?? error.message}`);
        await sleep(PAUSE_MS);
      }
    }
  }

  parse(text, calls) {
    const answers = JSON.parse(text);
    if (!Array.isArray(answers))
      throw new NodeError(`the batch was refused: ${answers.error?.message ?? text.slice(0, 200)}`);
    const byId = new Map(answers.map((answer) => [answer.id, answer]));
    return calls.map((_, id) => byId.get(id) ?? { error: { message: 'no answer in the batch' } });
  }

  async post(body) {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(this.url, {
      method: 'POST',
      headers,
      body,
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return response.text();
  }
}

export const hex = (number) => `0x${BigInt(number).toString(16)}`;
