// The three tables, after the conventions of a squid project: text ids and hashes, numeric big
// integers, primary keys as the only indices.
const {EntitySchema} = require('typeorm')

class Row {
    constructor(fields) {
        Object.assign(this, fields)
    }
}

class Block extends Row {}
class Transaction extends Row {}
class Log extends Row {}

const id = {type: 'text', primary: true}
const text = {type: 'text'}
const int = {type: 'int4'}
const big = {type: 'numeric', transformer: {to: (value) => value?.toString(), from: BigInt}}
const optional = (column) => ({...column, nullable: true})

const table = (target, tableName, columns) => new EntitySchema({name: target.name, target, tableName, columns})

module.exports = {
    Block,
    Transaction,
    Log,
    blocks: table(Block, 'block', {
        id, height: int, hash: text, parent_hash: text, timestamp: {type: 'timestamptz'}, miner: text,
        state_root: text, gas_used: big, gas_limit: big, base_fee_per_gas: big, size: big,
    }),
    transactions: table(Transaction, 'transaction', {
        id, hash: text, height: int, index: int, from: text, to: optional(text), value: big, input: text, nonce: int,
        gas: big, gas_price: big, gas_used: optional(big), effective_gas_price: optional(big), type: optional(int),
        status: optional(int), contract_address: optional(text),
    }),
    logs: table(Log, 'log', {
        id, height: int, transaction_hash: text, index: int, address: text,
        topics: {type: 'text', array: true}, data: text,
    }),
}
