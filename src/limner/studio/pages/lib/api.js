// Questions to the server. What goes wrong is an Error with the server's own sentence.

async function ask(method, path, body) {
  const options = { method, headers: {} };
  if (body instanceof FormData || body instanceof Blob) options.body = body;
  else if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the studio does not answer; is it still running?");
  }
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(sentence(told, answer.status));
  return told;
}

function sentence(told, status) {
  if (typeof told.detail === "string") return told.detail;
  if (Array.isArray(told.detail)) return told.detail.map((each) => `${each.loc.slice(1).join(".")}: ${each.msg}`).join("; ");
  return `the studio answered with status ${status}`;
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);
export const put = (path, body) => ask("PUT", path, body);
export const patch = (path, body) => ask("PATCH", path, body);
export const remove = (path) => ask("DELETE", path);
