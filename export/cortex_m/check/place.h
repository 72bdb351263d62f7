/* What a check needs of the place where it runs.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef PLACE_H
#define PLACE_H

#include <stdint.h>

void place_put(const char *text);
void place_put_number(uint32_t number);

/* Around what is measured, every time. */
void place_begin(void);
void place_end(void);

/* What the measured took, where the place can tell; `frames` were measured. */
void place_report(uint32_t frames);

#endif
