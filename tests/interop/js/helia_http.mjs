// A Helia that has nothing but HTTP, told what to do line by line: argv is the URL of a delegated router, which
// names the gateways that it fetches blocks from.

import { createInterface } from 'node:readline'
import { createHash } from 'node:crypto'
import { withHTTP } from '@helia/http'
import { unixfs } from '@helia/unixfs'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'

const [url] = process.argv.slice(2)
const helia = await withHTTP(createHeliaLight(), {
  delegatedRouters: [url], recursiveGateways: [], allowInsecure: true, allowLocal: true
}).start()
const files = unixfs(helia)

const commands = {
  async get ({ cid }) {
    const hash = createHash('sha256')
    let size = 0
    for await (const piece of files.cat(CID.parse(cid), { signal: AbortSignal.timeout(60_000) })) {
      hash.update(piece)
      size += piece.byteLength
    }
    return { sha256: hash.digest('hex'), size }
  }
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
await helia.stop()
process.exit(0)
