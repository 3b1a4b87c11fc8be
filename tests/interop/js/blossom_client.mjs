// A client of blossom-client-sdk that does what it is told: argv is a server's URL and a secret key in hex; each
// line on standard input is a command as JSON, each answered by one line on standard output.

import { createInterface } from 'node:readline'
import { hexToBytes } from '@noble/hashes/utils.js'
import { Actions, createDeleteAuth, createDownloadAuth, createListAuth, createUploadAuth } from 'blossom-client-sdk'
import { finalizeEvent } from 'nostr-tools/pure'

const [url, secretHex] = process.argv.slice(2)
const secret = hexToBytes(secretHex)
const sign = async draft => finalizeEvent(draft, secret)
const get = { onAuth: (server, sha256) => createDownloadAuth(sign, [server, sha256]) }

const commands = {
  upload({ size, fill, type }) {
    const blob = new Blob([new Uint8Array(size).fill(fill)], { type })
    const onAuth = (server, sha256) => createUploadAuth(sign, sha256, { servers: server })
    return Actions.uploadBlob(url, blob, { onAuth })
  },

  async download({ sha256 }) {
    const answer = await Actions.downloadBlob(url, sha256, get)
    const bytes = new Uint8Array(await answer.arrayBuffer())
    return { type: answer.headers.get('content-type'), size: bytes.length, sum: bytes.reduce((a, b) => a + b, 0) }
  },

  now: () => Date.now(),
  has: ({ sha256 }) => Actions.hasBlob(url, sha256),
  list: ({ npub, limit, cursor }) => Actions.listBlobs(url, npub, { limit, cursor, onAuth: () => createListAuth(sign) }),
  delete: ({ sha256 }) => Actions.deleteBlob(url, sha256, { onAuth: (server, hash) => createDeleteAuth(sign, hash) }),
}

for await (const line of createInterface({ input: process.stdin })) {
  const { do: command, ...rest } = JSON.parse(line)
  let answer
  try {
    answer = { result: await commands[command](rest) }
  } catch (error) {
    answer = { error: String(error?.message ?? error) }
  }
  console.log(JSON.stringify(answer))
}
