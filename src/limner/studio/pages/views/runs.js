// What runs, what waits and what was; one job with all that is known of it; two beside each other.

import { element, replace } from "../lib/dom.js";
import { jobView } from "./runs/job.js";
import { listView } from "./runs/list.js";
import { pairView } from "./runs/pair.js";

export const title = "Runs";

export async function show(place, query) {
  const [job, other] = [number(query.get("job")), number(query.get("with"))];
  const page = element("div", { class: "runs" });
  replace(place, page);
  if (job && other) return pairView(page, job, other);
  if (job) return jobView(page, job);
  return listView(page);
}

function number(text) {
  return /^\d{1,15}$/.test(text ?? "") ? Number(text) : null;
}
