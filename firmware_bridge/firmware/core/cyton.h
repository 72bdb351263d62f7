/* OpenBCI Cyton's language: 33-byte frames of eight channels at 250 Hz, and the commands that host programs use.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CYTON_H
#define CYTON_H

#include <stdbool.h>
#include <stdint.h>

#include "source.h"

#define CYTON_BAUD 115200U

/* Whether the source measures as a Cyton does: hosts take its scale for granted. */
bool cyton_fits(void);

/* The setting that a Cyton has after a reset. */
void cyton_default(source_setting *setting);

void cyton_begin(void);
void cyton_receive(uint8_t byte, uint32_t now_us);
void cyton_tick(uint32_t now_us);
void cyton_sample(const source_sample *sample);

#endif
