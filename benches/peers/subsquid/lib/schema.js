// Creates the tables of model.js in an empty database.
const {createOrmConfig} = require('@subsquid/typeorm-config')
const {DataSource} = require('typeorm')

new DataSource({...createOrmConfig(), synchronize: true}).initialize().then((source) => source.destroy())
