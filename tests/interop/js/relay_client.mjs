// A nostr-tools client that does what it is told: argv is a relay's URL and a secret key in hex; each
// line on standard input is a command as JSON, each answered by one line on standard output.

import { createInterface } from 'node:readline'
import { hexToBytes } from '@noble/hashes/utils.js'
import { fetchRelayInformation } from 'nostr-tools/nip11'
import { finalizeEvent } from 'nostr-tools/pure'
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

  auth: () => relay.auth(sign),
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
