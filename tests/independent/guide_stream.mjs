// The WebSocket sample of the Partner Integration Guide, with another host and key, its sends moved into `onopen`, and
// an end. usage: node guide_stream.mjs URL KEY COUNT, beside a node_modules with the package ws
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.cwd(), 'index.js'));
const WebSocket = require('ws');
const [url, key, count] = process.argv.slice(2);

const ws = new WebSocket(url);
const seen = { blocks: 0, transactions: 0 };

ws.onopen = () => {
  // Authenticate
  ws.send(JSON.stringify({
    type: 'auth',
    api_key: key
  }));

  // Subscribe to blocks
  ws.send(JSON.stringify({
    type: 'subscribe',
    channel: 'blocks'
  }));

  // Subscribe to transactions
  ws.send(JSON.stringify({
    type: 'subscribe',
    channel: 'transactions',
    filters: {
      to_address: '0xDAC17F958D2ee523a2206206994597C13D831ec7'
    }
  }));
};

// Handle messages
ws.onmessage = (event) => {
  const data = JSON.parse(event.data);
  if (data.type === 'error') {
    console.error(event.data);
    process.exit(1);
  }
  if (data.type === 'subscription') console.log(`following ${data.channel}`);
  if (data.type !== 'event') return;
  seen[data.channel] += 1;
  if (data.channel === 'transactions' && data.data.to_address !== '0xdac17f958d2ee523a2206206994597c13d831ec7') process.exit(1);
  if (seen.blocks === Number(count)) {
    console.log(JSON.stringify(seen));
    ws.close();
  }
};
