// Prints each of Hearthline's events once, a line of JSON each: npx tsx consumer.ts [--once]
import { readFileSync } from 'node:fs'
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf'
import { reflect } from '@bufbuild/protobuf/reflect'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { Consumer } from '@platformatic/kafka'

const contracts = process.env.CONTRACTS ?? '../../../proto'
const catalogue = JSON.parse(readFileSync(`${contracts}/topics.json`, 'utf8'))
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(`${contracts}/released.binpb`)))
const prefix = process.env.TOPIC_PREFIX ?? ''
const message = new Map<string, string>(catalogue.topics.map((t: { name: string; message: string }) => [prefix + t.name, t.message]))

const consumer = new Consumer<Buffer, Buffer, string, string>({
  clientId: 'example-typescript',
  groupId: process.env.GROUP ?? 'example-typescript',
  bootstrapBrokers: (process.env.KAFKA ?? '127.0.0.1:19392').split(','),
  autocommit: false
})
const records = await consumer.consume({ topics: [...message.keys()], mode: 'earliest' })
const silence = process.argv.includes('--once') ? setTimeout(() => records.close(), 10_000) : undefined
// Yours belong in your database, in the transaction that applies the event; then a restart repeats nothing either.
const last = new Map<string, bigint>()
const waiting = new Set<string>()
for await (const record of records) {
  silence?.refresh()
  const type = registry.getMessage(message.get(record.topic)!)!
  const event: any = fromBinary(type, record.value)
  const stream = Buffer.from(event.envelope.streamId).toString('hex')
  const { streamVersion: version, leastReaderRevision: least } = event.envelope
  const key = record.topic + stream
  if (version <= (last.get(key) ?? 0n)) continue // delivered again
  const fact = reflect(type, event).oneofCase(type.oneofs.find(one => one.name === 'fact')!)
  const why = least > catalogue.reader_revision ? `needs reader revision ${least}`
    : !fact ? 'unknown fact' : waiting.has(key) ? 'waits for an earlier event' : undefined
  if (why) waiting.add(key)
  const line = { topic: record.topic.slice(prefix.length), stream, version: Number(version), fact: why ? null : fact!.name, set_aside: why }
  console.log(JSON.stringify(line))
  last.set(key, version)
}
await consumer.close()
