// Good requests between refused ones, over a pool of few connections of undici: prints their statuses as JSON.
import { Pool } from "undici";

const [url, key, unknownKey] = process.argv.slice(2);
const pool = new Pool(url, { connections: 2, pipelining: 1 });
const body = "x".repeat(50_000);
const line = '{"event":"good"}';
const refused = [
  [401, "/v1/events", { "x-api-key": unknownKey }, line],
  [401, "/v1/events", { "x-api-key": unknownKey }, body],
  [404, "/v1/nothing", { "x-api-key": key }, body],
  [415, "/v1/events", { "x-api-key": key, "content-type": "application/xml" }, body],
  [413, "/v1/events", { "x-api-key": key }, "x".repeat(11 << 20)],
];

async function* parts(text) {
  for (let start = 0; start < text.length; start += 10_000) yield text.slice(start, start + 10_000);
}

async function post(path, headers, body) {
  try {
    const answer = await pool.request({ method: "POST", path, headers, body });
    await answer.body.text();
    return answer.statusCode;
  } catch (error) {
    return `${error.code}: ${error.message}`;
  }
}

const wrong = [];
const good = [];
for (const chunked of [false, true]) {
  for (let n = 0; n < 4; n += 1) {
    for (const [status, path, headers, text] of refused) {
      const found = await post(path, headers, chunked ? parts(text) : text);
      // A client that is still sending may see the end of the connection first.
      if (found !== status && status !== 413) wrong.push([status, found]);
      good.push(await post("/v1/events", { "x-api-key": key }, line));
    }
  }
}
console.log(JSON.stringify({ wrong, good }));
await pool.close();
