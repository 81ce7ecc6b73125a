// Checks the page that it is evaluated in, and returns what is wrong, as a list of sentences.
(() => {
  const problems = [];
  const root = document.documentElement;
  const shown = (element) => element.outerHTML.replace(/\s+/g, " ").slice(0, 120);
  if (root.scrollWidth > root.clientWidth) {
    problems.push(`the page is ${root.scrollWidth} pixels wide, and there is room for ${root.clientWidth}`);
  }
  const scrolls = (element) => {
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      if (["auto", "scroll"].includes(getComputedStyle(at).overflowX)) return true;
    }
    return false;
  };
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (box.width > 0 && box.right > root.clientWidth + 0.5 && !scrolls(element) && !element.closest("svg")) {
      problems.push(`this ends at ${box.right} of ${root.clientWidth} pixels: ${shown(element)}`);
    }
  }

  // The style was applied: the policy of the page allows it.
  if (getComputedStyle(document.querySelector("table")).borderCollapse !== "collapse") problems.push("the style is not applied");
  if (document.scripts.length > 0) problems.push("there is a script");
  if (performance.getEntriesByType("resource").length > 0) problems.push("something else was fetched");

  if (!root.lang) problems.push("the page has no language");
  if (!document.title) problems.push("the page has no title");
  for (const landmark of ["header", "main", "footer", "h1"]) {
    if (document.querySelectorAll(landmark).length !== 1) problems.push(`there is not one ${landmark}`);
  }
  let level = 0;
  for (const heading of document.querySelectorAll("h1,h2,h3,h4,h5,h6")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) problems.push(`a level of headings is left out: ${shown(heading)}`);
    if (!heading.textContent.trim()) problems.push(`a heading is empty: ${shown(heading)}`);
    level = own;
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size !== ids.length) problems.push("an id is there twice");
  for (const reference of document.querySelectorAll("[aria-labelledby]")) {
    if (!document.getElementById(reference.getAttribute("aria-labelledby"))) problems.push(`it has no name: ${shown(reference)}`);
  }
  for (const image of document.querySelectorAll("svg,img,[role=img],[role=region],article")) {
    if (image.closest("[aria-hidden=true]")) continue;
    const name = image.getAttribute("aria-label") || image.getAttribute("alt") || "";
    if (!name.trim()) problems.push(`it has no accessible name: ${shown(image)}`);
  }
  for (const mark of document.querySelectorAll(".chart use:not(.m-pin)")) {
    if (!mark.querySelector("title")?.textContent.trim()) problems.push(`a mark has no title: ${shown(mark)}`);
  }
  for (const use of document.querySelectorAll("use")) {
    if (!document.querySelector(use.getAttribute("href"))) problems.push(`there is no such shape: ${shown(use)}`);
  }
  for (const region of document.querySelectorAll(".scroll")) {
    if (region.tabIndex !== 0) problems.push(`it cannot be scrolled with the keyboard: ${shown(region)}`);
  }
  for (const link of document.querySelectorAll("a")) {
    if (new URL(link.href).origin !== location.origin) problems.push(`it leads elsewhere: ${shown(link)}`);
  }

  // The contrast of texts, by WCAG 2 at level AA.
  const channels = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const luminance = ({ r, g, b }) => {
    const linear = [r, g, b].map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.a > 0) return colour;
    }
    return { r: 255, g: 255, b: 255, a: 1 };
  };
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || ["TITLE", "STYLE", "title"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const colour = channels(element.closest("svg") ? style.fill : style.color);
    const [one, other] = [luminance(colour), luminance(background(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    texts += 1;
    if (ratio < (isLarge ? 3 : 4.5)) problems.push(`the contrast is ${ratio.toFixed(2)}: ${shown(element)}`);
    if (size < 12) problems.push(`the text is ${size} pixels high: ${shown(element)}`);
  }
  if (texts < 50) problems.push(`only ${texts} texts were found`);
  return JSON.stringify({ problems, background: getComputedStyle(document.body).backgroundColor });
})();
