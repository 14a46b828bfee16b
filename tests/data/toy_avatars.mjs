// A package in the shape of @dicebear/core and of one of its styles, small enough to work out by hand what a seed draws.
// From seed n: eyes open for even n, else shut; a mouth of three kinds; glasses on every third face; a hat on every
// fourth, which hides the hair; skin of two colours, hair and hats of five.
const pick = (values, n) => values[n % values.length];

export function createAvatar(style, given) {
  const options = { ...style.defaults, ...given };
  const n = Number(options.seed);
  const parts = {};
  for (const [group, values] of Object.entries(style.groups)) {
    const chosen = options[group] ?? values;
    const often = options[`${group}Probability`] ?? 100;
    const there = often === 100 || (often > 0 && n % { glasses: 3, hat: 4 }[group] === 0);
    parts[group] = there && chosen.length ? pick(chosen, n) : undefined;
  }
  const colour = (name) => pick(options[name] ?? style.schema.properties[name].default, n);
  const box = (x, y, side, fill) => `<rect x="${x}" y="${y}" width="${side}" height="${side}" fill="#${fill}"/>`;
  const grey = { open: 'ffffff', shut: '000000', sad: '111111', glad: '222222', flat: '333333' };
  let body = box(0, 0, 64, options.backgroundColor[0]) + box(16, 16, 32, colour('skinColor'));
  if (parts.eyes) body += box(20, 24, 4, grey[parts.eyes]) + box(40, 24, 4, grey[parts.eyes]);
  if (parts.mouth) body += box(28, 40, 6, grey[parts.mouth]);
  if (parts.glasses) body += box(18, 28, 2, '445566');
  if (parts.hat) body += box(16, 8, 8, colour('hatColor'));
  else if (parts.hair) body += box(16, parts.hair === 'long' ? 8 : 12, 4, colour('hairColor'));
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">${body}</svg>`;
  const colours = ['skinColor', 'hairColor', 'hatColor'].map((name) => [name, `#${colour(name)}`]);
  const extra = { ...parts, ...Object.fromEntries(colours) };
  return { toString: () => svg, toJson: () => ({ svg, extra }) };
}

export const groups = { eyes: ['open', 'shut'], mouth: ['sad', 'glad', 'flat'], hair: ['long', 'short'], glasses: ['round'], hat: ['tall'], nose: ['small'] };
export const defaults = { glassesProbability: 33, hatProbability: 25 };
const array = (values) => ({ type: 'array', default: values });
export const schema = {
  properties: {
    ...Object.fromEntries(Object.entries(groups).map(([group, values]) => [group, array(values)])),
    glassesProbability: { type: 'integer', default: 33 },
    hatProbability: { type: 'integer', default: 25 },
    skinColor: array(['aa5500', 'ffddbb']),
    hairColor: array(['220000', '004400', '000066', '888800', 'ff00ff']),
    hatColor: array(['330000', '005500', '000077', '999900', 'ff00cc']),
    backgroundColor: array([]),
  },
};
