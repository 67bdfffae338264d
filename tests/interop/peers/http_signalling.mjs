// Signalling as the echo server's page does it: the whole offer goes out as JSON, and the response is the answer.

export async function exchange(url, { type, sdp }) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify({ type, sdp }) });
  if (!response.ok) throw new Error(`${url} refused the offer: ${await response.text()}`);
  return response.json();
}
