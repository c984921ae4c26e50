// A visit: what the link says of it, which keys move, and how often it is painted.

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }; // across and up

let timer;
let leaves = false; // for another link

// Puts what `state` gives into the link, once nothing has changed for a while.
function keepLink(state) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (leaves) return;
    history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(state()))}`);
  }, 200);
}

// What the link says. It may come from a stranger: each value is checked where it is taken.
function readLink() {
  try {
    return JSON.parse(decodeURIComponent(location.hash.slice(1))) ?? {};
  } catch {
    return {};
  }
}

// A function that acts once a frame at most. Calls while it waits or acts share the next time.
function paced(act) {
  let acting = Promise.resolve();
  let next = null;
  const wait = async () => {
    await acting.catch(() => {});
    await new Promise(requestAnimationFrame);
    next = null;
    acting = act().then(() => (document.body.dataset.shown = Number(document.body.dataset.shown || 0) + 1));
    return acting;
  };
  return () => (next ??= wait());
}
