/* The wire protocol, version 1: docs/wire-protocol.md.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdint.h>

#include "source.h"

void wire_begin(void);

/* A byte from the host; a whole command is carried out and acknowledged. */
void wire_receive(uint8_t byte);

/* One sample into the frame that is being filled; a full one leaves. */
void wire_sample(const source_sample *sample, uint32_t number);

/* An unfinished frame leaves as it is, */
void wire_flush(void);

/* or is forgotten. */
void wire_drop(void);

/* What the device is, now. */
void wire_info(void);

/* Says it once a second. */
void wire_tick(uint32_t now_us);

#endif
