// Perfect negotiation (W3C webrtc-pc §10.7) in the browser: the other half of `trio_webrtc.signaling.negotiate()`.
//
// Both sides offer when they like. Where offers cross, the polite side gives way and the impolite one goes on as if it
// had heard nothing. The messages are those of trio_webrtc.signaling: descriptions and `{candidate: ...}`, as
// JSON.stringify makes them of the browser's own objects, and `{bye: "why"}`.

/** One side's part in offer and answer, from when it is made until `stop()`. */
export class Negotiation {
  collisions = 0; // how often an offer came where one of ours was under way
  #pc;
  #polite;
  #send;
  #complain;
  #listening = new AbortController();
  #makingOffer = false;
  #settingAnswer = false;
  #ignoresOffer = false;

  /**
   * @param {RTCPeerConnection} pc - make it, then this, and then the first data channel or track.
   * @param {object} options
   * @param {boolean} options.polite - whether to give way when offers cross; of the two sides, one does.
   * @param {(message: object) => void} options.send - takes every message to the other side, in order.
   * @param {(error: Error) => void} [options.complain] - is told what went wrong, such as a message that cannot be followed.
   */
  constructor(pc, { polite, send, complain = console.error }) {
    this.#pc = pc;
    this.#polite = polite;
    this.#send = send;
    this.#complain = complain;
    const { signal } = this.#listening;
    pc.addEventListener("negotiationneeded", () => this.#offer().catch((error) => this.#fail(error)), { signal });
    pc.addEventListener("icecandidate", ({ candidate }) => send({ candidate }), { signal });
    pc.addEventListener("iceconnectionstatechange", () => pc.iceConnectionState === "failed" && pc.restartIce(), { signal });
  }

  /** Negotiate nothing more; the connection goes on. */
  stop() {
    this.#listening.abort();
  }

  /** Take a message of the other side's; to be called for each, in order. */
  async receive(message) {
    if (this.#listening.signal.aborted) return;
    try {
      if ("type" in message) await this.#takeDescription(message);
      else if ("candidate" in message) await this.#takeCandidate(message.candidate);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #offer() {
    try {
      this.#makingOffer = true;
      await this.#pc.setLocalDescription();
      this.#send(this.#pc.localDescription.toJSON());
    } finally {
      this.#makingOffer = false;
    }
  }

  async #takeDescription(description) {
    const pc = this.#pc;
    const isOffer = description.type === "offer";
    const isReady = !this.#makingOffer && (pc.signalingState === "stable" || this.#settingAnswer);
    const collides = isOffer && !isReady;
    if (collides) this.collisions += 1;
    this.#ignoresOffer = collides && !this.#polite;
    if (this.#ignoresOffer) return;

    this.#settingAnswer = description.type === "answer";
    await pc.setRemoteDescription(description); // takes back an offer of ours that is under way
    this.#settingAnswer = false;
    if (isOffer) {
      await pc.setLocalDescription();
      this.#send(pc.localDescription.toJSON());
    }
  }

  async #takeCandidate(candidate) {
    const isIgnored = this.#ignoresOffer; // now: once it has failed, the answer may be there already
    try {
      await this.#pc.addIceCandidate(candidate);
    } catch (error) {
      if (!isIgnored) throw error;
    }
  }

  #fail(error) {
    if (this.#pc.signalingState !== "closed") this.#complain(error);
  }
}

/**
 * Negotiate over a WebSocket, which may still be connecting, until it ends.
 *
 * A goodbye of the other side's is told to `complain` if it has a reason, and so is a WebSocket that does not open.
 */
export function negotiateOver(socket, pc, { polite, complain = console.error }) {
  const unsent = [];
  let wasOpen = false;
  const send = (message) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
    else if (socket.readyState === WebSocket.CONNECTING) unsent.push(message);
  };
  const negotiation = new Negotiation(pc, { polite, send, complain });
  socket.addEventListener("open", () => {
    wasOpen = true;
    unsent.splice(0).forEach(send);
  });
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    if (!("bye" in message)) return negotiation.receive(message);
    negotiation.stop();
    if (message.bye) complain(new Error(message.bye));
  });
  socket.addEventListener("close", () => {
    negotiation.stop();
    if (!wasOpen) complain(new Error("the signalling server does not answer"));
  });
  return negotiation;
}

/**
 * Have the browser find its addresses, which it then knows until the page is left; to be awaited once, before offers
 * can cross. For Chromium: a connection whose offer was taken back before that never has any candidates.
 */
export async function findAddresses() {
  const pc = new RTCPeerConnection();
  pc.createDataChannel("none");
  const found = new Promise((resolve) => pc.addEventListener("icecandidate", resolve, { once: true }));
  await pc.setLocalDescription();
  await found;
  pc.close();
}
