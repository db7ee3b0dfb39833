// A run as the page holds it: its curves and what happened, as they come.

import { get } from "../../lib/api.js";
import { jobs } from "../../lib/jobs.js";

const MOST_POINTS = 1200; // of a curve, after which every other one is let go

/** The run of a job; heard() is called after changes, at most once a frame. stop() ends the listening. */
export async function openRun(id, heard) {
  const told = await get(`/api/jobs/${id}/history`);
  const run = { id, curves: new Map(Object.entries(told.curves)), events: told.events, stop: () => {} };
  let seq = told.seq;
  let end = () => {};
  let planned = false;

  function take(event) {
    seq = event.seq;
    if (event.event === "Step") add(run.curves, "loss", event.step, event.loss);
    else if (event.event === "Measured") add(run.curves, event.name, event.step, event.value);
    else if (!["Prepared", "Saved", "Sampled", "Progress"].includes(event.event)) run.events.push(event);
    if (event.event === "Ended") end();
    if (planned) return;
    planned = true;
    requestAnimationFrame(() => {
      planned = false;
      heard(event);
    });
  }

  /** Listen as long as the job is open; it may go on after a pause. */
  let isHeard = false;
  const unwatch = jobs.watch(() => {
    const job = jobs.get(id);
    const isOpen = job && ["queued", "running"].includes(job.status);
    if (isOpen && !isHeard) {
      isHeard = true;
      const stop = jobs.follow(id, take, seq);
      end = () => {
        stop();
        isHeard = false;
      };
    } else if (job && !isOpen && isHeard) {
      setTimeout(() => end(), 2000); // its last events are on their way
    }
  });
  run.stop = () => {
    unwatch();
    end();
  };
  return run;
}

/** A run that goes on from an earlier state takes back what came after it. */
function add(curves, name, step, value) {
  if (value === null) return;
  const points = curves.get(name) ?? [];
  while (points.length && points.at(-1)[0] >= step) points.pop();
  points.push([step, value]);
  curves.set(name, points.length > MOST_POINTS ? points.filter((_, at) => at % 2 === 0) : points);
}

/** The curve of a name, [] if there is none. */
export const curve = (run, name) => run.curves.get(name) ?? [];

/** Events of these classes, the latest telling of each file. */
export const happened = (run, ...names) => run.events.filter((event) => names.includes(event.event));

/** The pictures by their steps: [{ step, pictures: [{ address, label }] }]. */
export function frames(run) {
  const bySteps = new Map();
  for (const event of happened(run, "Preview", "Milestone")) {
    const held = bySteps.get(event.step) ?? new Map();
    const label = event.event === "Preview" ? `Preview: ${event.prompt}` : `Drawn to judge by, number ${event.number}`;
    held.set(event.event === "Preview" ? "preview" : event.number, { address: `/api/jobs/${run.id}/events/${event.seq}/file`, label });
    bySteps.set(event.step, held);
  }
  return [...bySteps].sort(([one], [other]) => one - other).map(([step, held]) => ({ step, pictures: [...held.values()] }));
}
