/* Text whose contrast is below WCAG AA: 4.5, or 3 for large text. Disabled controls are exempt there, and here. */
() => {
  for (const animation of document.getAnimations()) animation.finish();
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  canvas.canvas.width = canvas.canvas.height = 1;

  /* The browser itself reads a colour of whatever notation: red, green, blue, alpha, each up to 1. */
  const read = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
  };
  const over = (front, back, alpha) => back.map((part, place) => front[place] * alpha + part * (1 - alpha)).slice(0, 3);
  const luminance = (colour) => {
    const [red, green, blue] = colour.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratio = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const ancestors = (element) => (element ? [element, ...ancestors(element.parentElement)] : []);
  const background = (element) =>
    ancestors(element).reverse().reduce((back, ancestor) => {
      const colour = read(getComputedStyle(ancestor).backgroundColor);
      return over(colour, back, colour[3]);
    }, [1, 1, 1]);

  const poor = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    if (element.closest("script, style, noscript, .sk-hidden, .visually-hidden, .skip-to-content-link")) continue;
    if (element.closest(":disabled, option")) continue;
    const style = getComputedStyle(element);
    const opacity = ancestors(element).reduce((all, ancestor) => all * getComputedStyle(ancestor).opacity, 1);
    const back = background(element);
    const front = read(style.color);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const found = ratio(over(front, back, front[3] * opacity), back);
    if (found < (large ? 3 : 4.5)) {
      const where = element.closest("[class]");
      poor.add(`${found.toFixed(2)} <${element.localName} in .${where ? where.className : ""}> ${style.color} on ${back.map((part) => Math.round(part * 255))}: ${text.slice(0, 40)}`);
    }
  }
  for (const field of document.querySelectorAll("#content input[placeholder]")) {
    const [back, front] = [background(field), read(getComputedStyle(field, "::placeholder").color)];
    const found = ratio(over(front, back, front[3]), back);
    if (found < 4.5) poor.add(`${found.toFixed(2)} placeholder ${field.placeholder}`);
  }
  return [...poor];
}
