// A Helia node, told what to do line by line: JSON in, JSON out.
import { createInterface } from 'node:readline'
import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createHeliaLight } from 'helia'
import { createHash, randomBytes } from 'node:crypto'
import { CID } from 'multiformats/cid'

const [keyType = 'Ed25519'] = process.argv.slice(2)

const helia = await withBitswap(withLibp2pLight(createHeliaLight(), {
  privateKey: await generateKeyPair(keyType),
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping() }
})).start()
const files = unixfs(helia)

async function digestOf (cid) {
  const hash = createHash('sha256')
  let size = 0
  for await (const piece of files.cat(cid, { signal: AbortSignal.timeout(60_000) })) {
    hash.update(piece)
    size += piece.byteLength
  }
  return { sha256: hash.digest('hex'), size }
}

const commands = {
  who: () => ({
    peer: helia.libp2p.peerId.toString(),
    addresses: helia.libp2p.getMultiaddrs().map(String),
    peers: helia.libp2p.getPeers().map(String)
  }),
  dial: async ({ address }) => (await helia.libp2p.dial(multiaddr(address))).remotePeer.toString(),
  ping: async ({ address }) => await helia.libp2p.services.ping.ping(multiaddr(address)),
  hangUp: async ({ address }) => await helia.libp2p.hangUp(multiaddr(address)),
  add: async ({ size }) => {
    const bytes = randomBytes(size)
    const cid = await files.addBytes(bytes)
    return { cid: cid.toString(), sha256: createHash('sha256').update(bytes).digest('hex') }
  },
  addFolder: async ({ names, size }) => {
    const source = names.map((name) => ({ path: `folder/${name}`, content: randomBytes(size) }))
    let folder
    for await (const entry of files.addAll(source)) folder = entry.cid
    return folder.toString()
  },
  get: async ({ cid }) => {
    const began = performance.now()
    const got = await digestOf(CID.parse(cid))
    return { ...got, seconds: (performance.now() - began) / 1000 }
  },
  list: async ({ cid }) => {
    const found = []
    for await (const entry of files.ls(CID.parse(cid), { signal: AbortSignal.timeout(60_000) })) {
      found.push([entry.name, (await digestOf(entry.cid)).sha256])
    }
    return found
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { do: command, ...args } = JSON.parse(line)
  let answer
  try {
    answer = { result: (await commands[command](args)) ?? null }
  } catch (error) {
    answer = { error: `${error.name}: ${error.message}` }
  }
  console.log(JSON.stringify(answer))
}
await helia.stop()
process.exit(0)
