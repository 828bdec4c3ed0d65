// BullMQ: a queue, flows (children before their parent) and two worker processes.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
const require = createRequire(process.env.NODE_MODULES + '/')
const { FlowProducer, Queue, QueueEvents, Worker } = require('bullmq')
const IORedis = require('ioredis')

const url = new URL(process.env.FIELD_URL ?? 'redis://127.0.0.1:6379')
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null }
const PAYLOAD = 'p'.repeat(100), LENGTH = 100, NAME = 'field'
const pause = (ms) => new Promise((done) => setTimeout(done, ms))

async function children(job) {
  return Object.values(await job.getChildrenValues())
}

const works = {
  work: async (job) => job.data.text + 'abc',
  after: async (job) => (await children(job))[0] + 'abc',
  join: async (job) => (await children(job)).join('') + 'abc',
  count: async (job) => (await children(job)).length,
  slow: async (job) => {
    await pause(20)
    await marks.pipeline().sadd('marks', String(job.data.number)).incr('executions').exec()
  },
}
let marks

function check(found, expected) {
  if (found !== expected) {
    console.error(`expected ${expected}, got ${found}`)
    process.exit(1)
  }
}

const node = (name, below = [], data = {}) => ({ name, queueName: NAME, data, children: below })
const leaf = () => node('work', [], { text: PAYLOAD })

function chain() {
  let tree = leaf()
  for (let n = 1; n < LENGTH; n++) tree = node('after', [tree])
  return tree
}

async function drive() {
  const queue = new Queue(NAME, { connection })
  const flows = new FlowProducer({ connection })
  const events = new QueueEvents(NAME, { connection })
  events.setMaxListeners(0)
  await events.waitUntilReady()
  const ended = (job) => job.waitUntilFinished(events)

  async function timed(nodes, work) {
    const begun = performance.now()
    await work()
    return { nodes, seconds: (performance.now() - begun) / 1000 }
  }
  // `add` answers the top job; its result is what the flow came to
  async function trees(count, make, nodes, verify) {
    return timed(count * nodes, async () => {
      const results = []
      for (let n = 0; n < count; n++) results.push(ended((await flows.add(make())).job))
      for (const result of await Promise.all(results)) verify(result)
    })
  }
  const shapes = {
    single: (count) => timed(count, async () => {
      const results = []
      for (let n = 0; n < count; n++) results.push(ended(await queue.add('work', { text: PAYLOAD })))
      for (const result of await Promise.all(results)) check(result.length, 103)
    }),
    chains: (count) => trees(count, chain, LENGTH, (text) => check(text.length, 400)),
    fan: (width) => trees(1, () => node('count', Array.from({ length: width }, leaf)), width + 1,
      (found) => check(found, width)),
    // a flow is a tree: the two middle nodes cannot share the first one
    diamonds: (count) => trees(count, () => node('join', [node('after', [leaf()]), node('after', [leaf()])]), 5,
      (text) => check(text.length, 215)),
    idle: async (count) => {
      const latencies = []
      for (let n = 0; n < count; n++) {
        await pause(5)
        const begun = performance.now()
        check((await ended(await queue.add('work', { text: PAYLOAD }))).length, 103)
        latencies.push(performance.now() - begun)
      }
      return { latencies }
    },
    slow: async (count) => {
      for (let number = 0; number < count; number++) await queue.add('slow', { number })
      return { submitted: count }
    },
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const { shape, count } = JSON.parse(line)
    console.log(JSON.stringify(await shapes[shape](count)))
  }
  process.exit(0)
}

if (process.argv[2] === 'version') {
  console.log(require('bullmq/package.json').version)
} else if (process.argv[2] === 'worker') {
  marks = new (IORedis.default ?? IORedis)(connection)
  new Worker(NAME, (job) => works[job.name](job), { connection, concurrency: 1 })
} else {
  await drive()
}
