/* A simulated ADS1299 or ADS1298 for the tests on this computer: registers, commands, conversions in time.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CHIP_H
#define CHIP_H

#include <stdint.h>

#define CHIP_REGISTERS 0x18U

extern uint8_t chip_registers[CHIP_REGISTERS];
extern uint32_t chip_slips;   /* so many conversions from now on come one bit late */
extern uint32_t chip_status;  /* lead-off bits of P (bits 15 to 8) and N (7 to 0) */
extern uint32_t chip_resets;  /* by its line or its command */
extern uint32_t chip_late;    /* so many reads from now on take until the next conversion */

/* Its ID register; 0: there is no chip, and every line reads 0. */
void chip_power_up(uint8_t id);

/* Time has come to `now_us`. */
void chip_run(uint32_t now_us);

#endif
