/* What the boards here do alike: a queue behind the port's interrupt, waiting, sleeping.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef COMMON_H
#define COMMON_H

#include <stdint.h>

/* Before the first interrupt. */
void common_begin(void);

/* The port's interrupt has got a byte. */
void common_received(uint8_t byte);

#endif
