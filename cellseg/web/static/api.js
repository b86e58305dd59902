// Ask the server; every failure becomes one sentence for the reader.

export class ServerError extends Error {
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

const LOST = "The server cannot be reached. What you did until now is saved; the page tries again.";

async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new ServerError(LOST, 0);
  }
  if (answer.ok) return answer;
  let words = `The server answered ${answer.status}; reload the page.`;
  try {
    words = (await answer.json()).error || words;
  } catch {
    // not JSON: the sentence above does
  }
  throw new ServerError(words, answer.status);
}

export async function read(path) {
  return (await request(path)).json();
}

export async function change(path, values = {}) {
  const headers = { "content-type": "application/json", "x-cellseg": "1" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(values) })).json();
}

export async function upload(file) {
  const headers = { "content-type": "application/octet-stream", "x-cellseg": "1" };
  const path = `/api/images?name=${encodeURIComponent(file.name)}`;
  return (await request(path, { method: "POST", headers, body: file })).json();
}

export async function download(path, fallback) {
  const answer = await request(path);
  const told = /filename\*=UTF-8''([^;]+)/.exec(answer.headers.get("content-disposition") || "");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = told ? decodeURIComponent(told[1]) : fallback;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
