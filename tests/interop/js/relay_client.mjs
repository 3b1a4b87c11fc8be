// A nostr-tools client that does what it is told: argv is a relay's URL and a secret key in hex; each
// line on standard input is a command as JSON, each answered by one line on standard output.

import { createInterface } from 'node:readline'
import { hexToBytes } from '@noble/hashes/utils.js'
import { fetchRelayInformation } from 'nostr-tools/nip11'
import { unwrapEvent, wrapEvent } from 'nostr-tools/nip59'
import { finalizeEvent } from 'nostr-tools/pure'
import { nip77 } from 'nostr-tools'
import { getToken } from 'nostr-tools/nip98'
import { Relay, useWebSocketImplementation } from 'nostr-tools/relay'
import WebSocket from 'ws'

const [url, secretHex] = process.argv.slice(2)
const secret = hexToBytes(secretHex)
const live = []
let wake = () => {}

useWebSocketImplementation(WebSocket)
const relay = await Relay.connect(url)
const sign = async template => finalizeEvent(template, secret)

const commands = {
  information: () => fetchRelayInformation(url),

  async publish({ template }) {
    const event = finalizeEvent(template, secret)
    return { id: event.id, reason: await relay.publish(event) }
  },

  query: ({ filters }) =>
    new Promise((resolve, reject) => {
      const found = []
      const subscription = relay.subscribe(filters, {
        onevent: event => found.push(event),
        oninvalidevent: event => reject(new Error(`invalid: ${JSON.stringify(event)}`)),
        oneose: () => resolve(found),
        onclose: reason => reject(new Error(reason)),
      })
      setImmediate(() => subscription.closed && reject(new Error('closed')))
    }),

  follow: ({ filters }) =>
    new Promise((resolve, reject) => {
      relay.subscribe(filters, {
        onevent: event => {
          live.push(event)
          wake()
        },
        oneose: () => resolve('following'),
        onclose: reason => reject(new Error(reason)),
      })
    }),

  async heard({ count }) {
    while (live.length < count) await new Promise(resolve => (wake = resolve))
    return live.splice(0, count)
  },

  count: ({ filters }) => relay.count(filters, {}),

  async wrap({ to, content }) {
    const wrap = wrapEvent({ kind: 14, content, tags: [['p', to]], created_at: 1000 }, secret, to)
    return { id: wrap.id, reason: await relay.publish(wrap) }
  },

  unwrap: async ({ wraps }) => wraps.map(wrap => unwrapEvent(wrap, secret).content),

  auth: () => relay.auth(sign),

  // Reconciles `items` ([created_at, id] each) with the relay: NIP-77.
  sync: ({ filter, items, frame }) =>
    new Promise((resolve, reject) => {
      const storage = new nip77.NegentropyStorageVector()
      for (const [time, id] of items) storage.insert(time, id)
      storage.seal()
      const have = []
      const need = []
      let rounds = 0
      const sync = new nip77.NegentropySync(relay, storage, filter, {
        onhave: id => have.push(id),
        onneed: id => need.push(id),
        onclose: reason => (reason ? reject(new Error(reason)) : resolve({ have, need, rounds })),
      })
      sync.neg = new nip77.Negentropy(storage, frame)
      const reconcile = sync.neg.reconcile.bind(sync.neg)
      sync.neg.reconcile = (...said) => {
        rounds += 1
        return reconcile(...said)
      }
      sync.start()
    }),

  // One call of the relay's management: NIP-86, authorised by NIP-98.
  async manage({ method, params }) {
    const call = { method, params }
    const where = url.replace(/^ws/, 'http') + '/'
    const authorization = await getToken(where, 'POST', sign, true, call)
    const answer = await fetch(where, {
      method: 'POST',
      headers: { 'Content-Type': 'application/nostr+json+rpc', Authorization: authorization },
      body: JSON.stringify(call),
    })
    return { status: answer.status, ...(await answer.json()) }
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  try {
    console.log(JSON.stringify({ result: await commands[command.do](command) }))
  } catch (error) {
    console.log(JSON.stringify({ error: error instanceof Error ? error.message : String(error) }))
  }
}
relay.close()
