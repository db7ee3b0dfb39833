// Files that a person drops or chooses, folders and zips among them, and their way to the server.

const MOST_TOGETHER = 200; // files in a form
const MOST_BYTES = 64 << 20; // in a form, unless one file alone is larger

/** [{ file, name }] of what was dropped; folders are walked through, and names tell where in them a file lies. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return chosen(transfer.files);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

/** The same of a file input. */
export function chosen(files) {
  return [...files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, name: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const each of some) await walk(each, found);
  }
}

/** Send files to a set, some at a time; told(share) hears how far it is. Returns what the server says, added up. */
export async function send(id, files, told) {
  const total = files.reduce((sum, { file }) => sum + file.size, 0) || 1;
  const sum = { added: 0, zips: 0, same: 0, skipped: [] };
  let sent = 0;
  for (const batch of batches(files)) {
    const before = sent;
    const answer = await sendOnce(id, batch, (bytes) => told(Math.min(1, (before + bytes) / total)));
    for (const name of ["added", "zips", "same"]) sum[name] += answer[name];
    sum.skipped.push(...answer.skipped);
    sent += batch.reduce((bytes, { file }) => bytes + file.size, 0);
  }
  return sum;
}

/** Files of one name, as a picture and its caption, stay together. */
function* batches(files) {
  const stem = ({ name }) => name.replace(/(\.mask|-masklabel)?\.[^./]*$/, "");
  const sorted = [...files].sort((one, other) => (stem(one) < stem(other) ? -1 : stem(one) > stem(other) ? 1 : 0));
  let batch = [];
  let bytes = 0;
  for (const each of sorted) {
    const isFull = batch.length >= MOST_TOGETHER || bytes + each.file.size > MOST_BYTES;
    if (batch.length && isFull && stem(each) !== stem(batch.at(-1))) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(each);
    bytes += each.file.size;
  }
  if (batch.length) yield batch;
}

/** XMLHttpRequest, since fetch does not tell how much is sent. */
function sendOnce(id, files, told) {
  const form = new FormData();
  for (const { file, name } of files) form.append("files", file, name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/datasets/${id}/files`);
    request.responseType = "json";
    request.upload.onprogress = (event) => told(event.loaded);
    request.onerror = () => reject(new Error("the pictures did not arrive; is the studio still running?"));
    request.onload = () => {
      const { status, response } = request;
      if (status === 201) resolve(response);
      else reject(new Error(typeof response?.detail === "string" ? response.detail : `the studio answered ${status}`));
    };
    request.send(form);
  });
}
