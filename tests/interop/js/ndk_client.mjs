// An NDK client that does what it is told: argv is a relay's URL and a secret key in hex; each line on
// standard input is a command as JSON, each answered by one line on standard output.

import { createInterface } from 'node:readline'
import NDK, {
  NDKEvent,
  NDKPrivateKeySigner,
  NDKRelayAuthPolicies,
  NDKRelaySet,
  NDKUser,
  giftUnwrap,
  giftWrap,
} from '@nostr-dev-kit/ndk'
import WebSocket from 'ws'

globalThis.WebSocket ??= WebSocket
console.warn = console.info = console.debug = () => {}

const [url, secretHex, login] = process.argv.slice(2)
const signer = new NDKPrivateKeySigner(secretHex)
const ndk = new NDK({ explicitRelayUrls: [url], signer, enableOutboxModel: false })
if (login === 'login') ndk.relayAuthDefaultPolicy = NDKRelayAuthPolicies.signIn({ ndk })
const live = []
let wake = () => {}

await ndk.connect(5000)
const relays = NDKRelaySet.fromRelayUrls([url], ndk)
const plain = event => ({ id: event.id, pubkey: event.pubkey, kind: event.kind, content: event.content })

const commands = {
  async publish({ template }) {
    const event = new NDKEvent(ndk, template)
    await event.sign()
    await event.publish(relays)
    return { id: event.id }
  },

  query: ({ filters }) =>
    new Promise((resolve, reject) => {
      const found = []
      ndk.subscribe(
        filters,
        { closeOnEose: true, relaySet: relays, groupable: false },
        {
          onEvent: event => found.push(plain(event)),
          onEose: () => resolve(found),
          onClosed: (_, reason) => reject(new Error(reason)),
        },
      )
    }),

  follow: ({ filters }) =>
    new Promise(resolve => {
      ndk.subscribe(
        filters,
        { closeOnEose: false, relaySet: relays, groupable: false },
        {
          onEvent: event => {
            live.push(plain(event))
            wake()
          },
          onEose: () => resolve('following'),
        },
      )
    }),

  async heard({ count }) {
    while (live.length < count) await new Promise(resolve => (wake = resolve))
    return live.splice(0, count)
  },

  async count({ filters }) {
    const counted = await ndk.count(filters, {}, relays)
    return { count: counted.count, merged: counted.mergedHll !== undefined }
  },

  async wrap({ to, content }) {
    const rumor = new NDKEvent(ndk, { kind: 14, content, tags: [['p', to]], created_at: 1000 })
    rumor.pubkey = (await signer.user()).pubkey
    const wrap = await giftWrap(rumor, new NDKUser({ pubkey: to }), signer)
    await wrap.publish(relays)
    return { id: wrap.id }
  },

  async unwrap() {
    const mine = (await signer.user()).pubkey
    const wraps = await ndk.fetchEvents({ kinds: [1059], '#p': [mine] }, { groupable: false }, relays)
    return Promise.all([...wraps].map(async wrap => (await giftUnwrap(wrap, undefined, signer)).content))
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  try {
    console.log(JSON.stringify({ result: await commands[command.do](command) }))
  } catch (error) {
    const reasons = [...(error?.errors?.values?.() ?? [])].map(String)
    const message = error instanceof Error ? error.message : String(error)
    console.log(JSON.stringify({ error: [message, ...reasons].join(' | ') }))
  }
}
process.exit(0)
