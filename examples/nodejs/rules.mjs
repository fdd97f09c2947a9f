/** The rules that can refuse a transaction, as countersign.h lists them. */

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PLACES = [fileURLToPath(new URL('../../include/countersign.h', import.meta.url)), '/usr/include/countersign.h'];

/** The rule that refused, in words, from `ulDeviceError` of C_GetSessionInfo. 0 means no rule. */
export function sentence(number) {
  if (number === 0) return 'the module gives no rule number; look in the log of the boundary';
  const place = PLACES.find(existsSync);
  const header = place ? readFileSync(place, 'utf8') : '';
  const name = header.match(new RegExp(`^#define (CS_RULE_\\w+)\\s+${number}UL$`, 'm'))?.[1];
  const rule = name && header.match(new RegExp(`RULE\\(${name}, "(.*?)", "(.*?)"\\)`));
  return rule ? `${rule[1]}: ${rule[2]}` : `rule ${number}, which is newer than this countersign.h`;
}
