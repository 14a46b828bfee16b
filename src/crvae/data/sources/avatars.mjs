// Draws avatars: node avatars.mjs CORE STYLE COUNT BACKGROUND PARTS, one JSON object a line on standard output.
//
// For each seed: {seed, svg, shown}. `shown` holds the options that the drawing really shows: a part without which it
// would look the same, and a colour that occurs nowhere in it, are left out. Then {part, with, without} for
// each value of each part in PARTS (separated by commas): a plain face with it and without, to measure where it lies.
import { pathToFileURL } from 'node:url';

const [core, folder, count, background, parts] = process.argv.slice(2);
const { createAvatar } = await import(pathToFileURL(`${core}/lib/index.js`));
const style = await import(pathToFileURL(`${folder}/lib/index.js`));

const options = style.schema.properties;
const names = Object.keys(options).filter((name) => options[name].type === 'array' && name !== 'backgroundColor');
const colours = names.filter((name) => name.endsWith('Color'));
// A part that every drawing has in one form says nothing.
const groups = names.filter((name) => !name.endsWith('Color') && (options[name].default.length > 1 || `${name}Probability` in options));
// Colours that no style has. An option's list may have any length: the choices after it stay the same.
const marks = Object.fromEntries(colours.map((name, i) => [name, `0102${(16 + i).toString(16)}`]));
const marked = Object.fromEntries(colours.map((name) => [name, [marks[name]]]));

const draw = (seed, more = {}) => createAvatar(style, { seed, backgroundColor: [background], ...more });
const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

for (let i = 0; i < Number(count); i++) {
  const seed = String(i);
  const avatar = draw(seed);
  const { svg, extra } = avatar.toJson();
  const shown = {};
  for (const group of groups) {
    if (extra[group] !== undefined && draw(seed, { [group]: [] }).toString() !== svg) shown[group] = extra[group];
  }
  const under = draw(seed, marked).toString();
  for (const name of colours) {
    if (under.includes(marks[name])) shown[name] = extra[name].replace('#', '');
  }
  write({ seed: i, svg, shown });
}

const plain = Object.fromEntries(Object.keys(options).filter((name) => name.endsWith('Probability')).map((name) => [name, 0]));
const bare = { ...plain, topProbability: 100, hairProbability: 100 };
for (const part of parts.split(',')) {
  options[part].default.forEach((value, i) => {
    const face = (values) => draw(String(i), { ...bare, [part]: values }).toString();
    write({ part, with: face([value]), without: face([]) });
  });
}
