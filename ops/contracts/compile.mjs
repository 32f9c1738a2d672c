#!/usr/bin/env node
// Compiles the Solidity files beside this script into artifacts.json, which is committed, so that
// nothing else needs a compiler: { <contract>: { abi, bytecode, methods: { <signature>: <selector> } } }.
//
//   node ops/contracts/compile.mjs            writes artifacts.json
//   node ops/contracts/compile.mjs --check    changes nothing; exit 1 when artifacts.json is stale
//
// The compiler is the npm package solc, put into target/tools/solc at first use. The same sources
// always give the same bytes: the version is pinned and no metadata is appended to the bytecode.
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOLC = '0.8.37';
const here = fileURLToPath(new URL('.', import.meta.url));
const tools = resolve(here, '../../target/tools/solc');
const target = join(here, 'artifacts.json');

function loadCompiler() {
  const load = () => createRequire(join(tools, 'x.js'))('solc');
  const installed = () => {
    try {
      return load().version().startsWith(`${SOLC}+`);
    } catch {
      return false;
    }
  };
  if (installed()) return load();
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-save'];
  const npm = spawnSync('npm', ['install', ...flags, '--prefix', tools, `solc@${SOLC}`], {
    stdio: 'inherit',
  });
  if (npm.status !== 0)
    throw new Error(`npm could not install solc ${SOLC} into ${tools}: is the npm registry reachable?`);
  return load();
}

function compile(solc) {
  const names = readdirSync(here)
    .filter((name) => name.endsWith('.sol'))
    .sort();
  const input = {
    language: 'Solidity',
    sources: Object.fromEntries(
      names.map((name) => [name, { content: readFileSync(join(here, name), 'utf8') }]),
    ),
    settings: {
      evmVersion: 'shanghai',
      optimizer: { enabled: true, runs: 200 },
      metadata: { appendCBOR: false, bytecodeHash: 'none' },
      outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.methodIdentifiers'] } },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const complaints = (output.errors ?? []).map((error) => error.formattedMessage);
  if (complaints.length > 0) throw new Error(complaints.join('\n'));
  return Object.assign({}, ...names.map((name) => output.contracts[name]));
}

function artifacts(contracts) {
  const entries = Object.entries(contracts)
    .filter(([, contract]) => contract.evm.bytecode.object !== '')
    .map(([name, { abi, evm }]) => [
      name,
      { abi, bytecode: `0x${evm.bytecode.object}`, methods: evm.methodIdentifiers },
    ]);
  return `${JSON.stringify(Object.fromEntries(entries), null, 1)}\n`;
}

try {
  const text = artifacts(compile(loadCompiler()));
  if (!process.argv.includes('--check')) {
    writeFileSync(target, text);
  } else if (readFileSync(target, 'utf8') !== text) {
    throw new Error('artifacts.json is stale: run node ops/contracts/compile.mjs and commit it');
  }
} catch (error) {
  console.error(`compile: ${error.message}`);
  process.exit(1);
}
