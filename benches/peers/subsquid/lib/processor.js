// Indexes blocks FROM..TO of the node at RPC into PostgreSQL, then ends and prints the seconds it took,
// from the processor's start to its last commit.
const {EvmBatchProcessor} = require('@subsquid/evm-processor')
const {TypeormDatabase} = require('@subsquid/typeorm-store')
const {Block, Transaction, Log} = require('./model')

const all = (...names) => Object.fromEntries(names.map((name) => [name, true]))
const {RPC, FROM, TO, CAPACITY, WRITER, RECEIPTS} = process.env

// What only receipts tell; without these the processor asks for logs by eth_getLogs instead.
const executed = RECEIPTS === 'no' ? [] : ['gasUsed', 'effectiveGasPrice', 'type', 'status', 'contractAddress']

const processor = new EvmBatchProcessor()
    .setRpcEndpoint({url: RPC, capacity: Number(CAPACITY)})
    .setFinalityConfirmation(0) // the range is taken as final, which spares it the bookkeeping of forks
    .setBlockRange({from: Number(FROM), to: Number(TO)})
    .includeAllBlocks()
    .addTransaction({})
    .addLog({})
    .setFields({
        block: all('timestamp', 'miner', 'stateRoot', 'gasUsed', 'gasLimit', 'baseFeePerGas', 'size'),
        transaction: all('hash', 'from', 'to', 'value', 'input', 'nonce', 'gas', 'gasPrice', ...executed),
        log: all('transactionHash', 'address', 'topics', 'data'),
    })

const blockRow = (block) => new Block({
    id: block.id, height: block.height, hash: block.hash, parent_hash: block.parentHash,
    timestamp: new Date(block.timestamp), miner: block.miner, state_root: block.stateRoot, gas_used: block.gasUsed,
    gas_limit: block.gasLimit, base_fee_per_gas: block.baseFeePerGas, size: block.size,
})

const transactionRow = (tx, height) => new Transaction({
    id: tx.id, hash: tx.hash, height, index: tx.transactionIndex, from: tx.from, to: tx.to, value: tx.value,
    input: tx.input, nonce: tx.nonce, gas: tx.gas, gas_price: tx.gasPrice, gas_used: tx.gasUsed,
    effective_gas_price: tx.effectiveGasPrice, type: tx.type, status: tx.status, contract_address: tx.contractAddress,
})

const logRow = (log, height) => new Log({
    id: log.id, height, transaction_hash: log.transactionHash, index: log.logIndex, address: log.address,
    topics: log.topics, data: log.data,
})

// A squid's usual `store.insert` builds its statement through TypeORM's query builder; handing the rows
// over as one JSON parameter, in the store's own transaction, is several times faster.
const bulk = (table) => `INSERT INTO "${table}" SELECT * FROM json_populate_recordset(NULL::"${table}", $1)`
const plain = (key, value) => (typeof value === 'bigint' ? value.toString() : value)
const write = WRITER === 'typeorm'
    ? (store, table, rows) => store.insert(rows)
    : (store, table, rows) => rows.length && store.em().query(bulk(table), [JSON.stringify(rows, plain)])

const start = performance.now()
process.on('exit', (code) => {
    if (code === 0) console.log(((performance.now() - start) / 1000).toFixed(3))
})

const database = new TypeormDatabase({supportHotBlocks: false, isolationLevel: 'READ COMMITTED'})
processor.run(database, async ({blocks, store}) => {
    await write(store, 'block', blocks.map(({header}) => blockRow(header)))
    await write(store, 'transaction', blocks.flatMap(({header, transactions}) =>
        transactions.map((tx) => transactionRow(tx, header.height))))
    await write(store, 'log', blocks.flatMap(({header, logs}) => logs.map((log) => logRow(log, header.height))))
})
