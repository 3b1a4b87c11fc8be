// Nostr events (NIP-01) and their signatures (BIP-340), with nothing but what the browser has.
//
// secp256k1 is not among the curves of WebCrypto, so the arithmetic is done here, on BigInt. It is not constant in
// time: who can measure this page from inside the same browser can do worse already. The secret lives as long as
// the tab does and opens nothing but this guest's place.

const P = 2n ** 256n - 2n ** 32n - 977n;
const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const G = [
  0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
  1n,
];
const ZERO = [0n, 1n, 0n];

const mod = (a, m = P) => ((a % m) + m) % m;

function inverse(a, m = P) {
  let [low, high, x, y] = [mod(a, m), m, 1n, 0n];
  while (low > 1n) {
    const quotient = high / low;
    [low, high, x, y] = [high - quotient * low, low, y - quotient * x, x];
  }
  return mod(x, m);
}

// Points are Jacobian: (x / z^2, y / z^3); z = 0 is the point at infinity.
function double([x, y, z]) {
  if (y === 0n || z === 0n) return ZERO;
  const yy = mod(y * y);
  const s = mod(4n * x * yy);
  const m = mod(3n * x * x);
  const newX = mod(m * m - 2n * s);
  return [newX, mod(m * (s - newX) - 8n * yy * yy), mod(2n * y * z)];
}

function add(a, b) {
  if (a[2] === 0n) return b;
  if (b[2] === 0n) return a;
  const [aa, bb] = [mod(a[2] * a[2]), mod(b[2] * b[2])];
  const [u1, u2] = [mod(a[0] * bb), mod(b[0] * aa)];
  const [s1, s2] = [mod(a[1] * bb * b[2]), mod(b[1] * aa * a[2])];
  if (u1 === u2) return s1 === s2 ? double(a) : ZERO;
  const [h, r] = [mod(u2 - u1), mod(s2 - s1)];
  const hh = mod(h * h);
  const hhh = mod(h * hh);
  const v = mod(u1 * hh);
  const x = mod(r * r - hhh - 2n * v);
  return [x, mod(r * (v - x) - s1 * hhh), mod(h * a[2] * b[2])];
}

function times(k) {
  let [sum, power] = [ZERO, G];
  for (; k > 0n; k >>= 1n, power = double(power)) if (k & 1n) sum = add(sum, power);
  const z = inverse(sum[2]);
  return [mod(sum[0] * z * z), mod(sum[1] * z * z * z)];
}

const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const toBytes = (number) => Uint8Array.from(number.toString(16).padStart(64, "0").match(/../g), (byte) => parseInt(byte, 16));
const toNumber = (bytes) => BigInt("0x" + toHex(bytes));
const utf8 = (text) => new TextEncoder().encode(text);
const join = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

async function tagged(tag, ...parts) {
  const hash = await sha256(utf8(tag));
  return sha256(join(hash, hash, ...parts));
}

export class Key {
  constructor(secret) {
    const [x, y] = times(secret);
    this.secret = y & 1n ? N - secret : secret; // BIP-340: the one whose point has an even y
    this.x = toBytes(x);
    this.npub = toHex(this.x);
  }

  // The tab's own: made on the first call, and gone with the tab.
  static ofThisTab() {
    let hex = sessionStorage.getItem("secret");
    if (!hex) {
      let secret = 0n;
      while (secret === 0n || secret >= N) secret = toNumber(crypto.getRandomValues(new Uint8Array(32)));
      hex = secret.toString(16);
      sessionStorage.setItem("secret", hex);
    }
    return new Key(BigInt("0x" + hex));
  }

  async sign(message) {
    const noise = await tagged("BIP0340/aux", crypto.getRandomValues(new Uint8Array(32)));
    const masked = toBytes(this.secret ^ toNumber(noise));
    const nonce = mod(toNumber(await tagged("BIP0340/nonce", masked, this.x, message)), N);
    const [x, y] = times(nonce);
    const even = y & 1n ? N - nonce : nonce;
    const challenge = mod(toNumber(await tagged("BIP0340/challenge", toBytes(x), this.x, message)), N);
    return toHex(join(toBytes(x), toBytes(mod(even + challenge * this.secret, N))));
  }

  async event(kind, tags, content) {
    const created_at = Math.floor(Date.now() / 1000);
    const id = await sha256(utf8(JSON.stringify([0, this.npub, created_at, kind, tags, content])));
    return { id: toHex(id), pubkey: this.npub, created_at, kind, tags, content, sig: await this.sign(id) };
  }
}
