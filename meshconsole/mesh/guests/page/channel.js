// Nostr messages over the data channel "nostr-events": docs/protocol.md, "Guests".
//
// Every message of the channel begins with a byte: DATA before a piece, CONSUMED before a count of the bytes that
// were taken so far. Neither side has more than CREDIT bytes on the way that the other has not taken. A piece is
// one byte, MORE or LAST, and a part of a relay message in UTF-8.

const LABEL = "nostr-events";
const [DATA, CONSUMED] = [0, 1];
const [LAST, MORE] = [0, 1];
const PIECE = 16 * 1024 - 1;
const CREDIT = 1024 * 1024;
const MAX_MESSAGE = 4 * 1024 * 1024;
const GATHER_MS = 3000;

export class Channel {
  constructor() {
    this.connection = new RTCPeerConnection({ iceServers: [] });
    this.channel = this.connection.createDataChannel(LABEL, { ordered: true });
    this.channel.binaryType = "arraybuffer";
    this.sent = this.credited = this.taken = this.told = 0;
    this.pieces = [];
    this.size = 0;
    this.waiting = [];
    this.onmessage = () => {};
    this.onend = () => {};
    this.opened = new Promise((resolve) => (this.channel.onopen = resolve));
    this.channel.onmessage = ({ data }) => this.#heard(data);
    this.channel.onclose = () => this.close();
    this.connection.onconnectionstatechange = () => {
      if (["failed", "closed"].includes(this.connection.connectionState)) this.close();
    };
  }

  async offer() {
    await this.connection.setLocalDescription(await this.connection.createOffer());
    await new Promise((resolve) => {
      const look = () => this.connection.iceGatheringState === "complete" && resolve();
      this.connection.onicegatheringstatechange = look;
      setTimeout(resolve, GATHER_MS);
      look();
    });
    return this.connection.localDescription.sdp;
  }

  async accept(sdp) {
    await this.connection.setRemoteDescription({ type: "answer", sdp });
  }

  send(message) {
    const bytes = new TextEncoder().encode(JSON.stringify(message));
    for (let at = 0; at < bytes.length; at += PIECE) {
      const part = bytes.subarray(at, at + PIECE);
      const piece = new Uint8Array(part.length + 2);
      piece[0] = DATA;
      piece[1] = at + PIECE < bytes.length ? MORE : LAST;
      piece.set(part, 2);
      this.waiting.push(piece);
    }
    this.#flush();
  }

  close() {
    if (this.ended) return;
    this.ended = true;
    this.connection.close();
    this.onend();
  }

  #flush() {
    while (this.waiting.length && this.sent - this.credited < CREDIT && this.channel.readyState === "open") {
      const piece = this.waiting.shift();
      this.sent += piece.length - 1;
      this.channel.send(piece);
    }
  }

  #heard(data) {
    if (!(data instanceof ArrayBuffer) || data.byteLength < 2) return this.close();
    const view = new DataView(data);
    if (view.getUint8(0) === CONSUMED && data.byteLength === 9) {
      this.credited = Math.max(this.credited, Math.min(Number(view.getBigUint64(1)), this.sent));
      return this.#flush();
    }
    const kind = view.getUint8(1);
    this.size += data.byteLength - 2;
    if (view.getUint8(0) !== DATA || kind > MORE || this.size > MAX_MESSAGE) return this.close();
    this.pieces.push(new Uint8Array(data, 2));
    this.taken += data.byteLength - 1;
    if (this.taken - this.told >= CREDIT / 4) {
      this.told = this.taken;
      const count = new DataView(new ArrayBuffer(9));
      count.setUint8(0, CONSUMED);
      count.setBigUint64(1, BigInt(this.taken));
      this.channel.send(count.buffer);
    }
    if (kind === LAST) this.#whole();
  }

  #whole() {
    const decoder = new TextDecoder();
    const text = this.pieces.map((piece) => decoder.decode(piece, { stream: true })).join("") + decoder.decode();
    this.pieces = [];
    this.size = 0;
    try {
      this.onmessage(JSON.parse(text));
    } catch (error) {
      console.error("a message of the node could not be used", error);
    }
  }
}
