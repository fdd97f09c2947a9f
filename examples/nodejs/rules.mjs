/** The rules by which a transaction is refused, as countersign.h lists them. */

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PLACES = [fileURLToPath(new URL('../../include/countersign.h', import.meta.url)), '/usr/include/countersign.h'];

/** What refused: `ulDeviceError` of C_GetSessionInfo, in words. 0 is no rule. */
export function sentence(number) {
  if (number === 0) return 'the boundary does not tell the rule; its log does';
  const place = PLACES.find(existsSync);
  const header = place ? readFileSync(place, 'utf8') : '';
  const name = header.match(new RegExp(`^#define (CS_RULE_\\w+)\\s+${number}UL$`, 'm'))?.[1];
  const rule = name && header.match(new RegExp(`RULE\\(${name}, "(.*?)", "(.*?)"\\)`));
  return rule ? `${rule[1]}: ${rule[2]}` : `rule ${number}, which this countersign.h does not have`;
}
