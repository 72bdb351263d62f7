/* What a board provides. Everything above is portable C11; docs/firmware.md says how to write one of these.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef HAL_H
#define HAL_H

#include <stdbool.h>
#include <stdint.h>

void hal_init(void);

/* Microseconds since power-up, modulo 2^32. Never stops, never goes back; may be called from the main loop only. */
uint32_t hal_clock_us(void);

/* At least so long. */
void hal_delay_us(uint32_t us);

/* Sleep until something may have happened: a byte, a conversion, or a millisecond has passed. */
void hal_wait(void);

/* What has arrived, at most `room` bytes; how many. */
uint32_t hal_uart_receive(uint8_t *bytes, uint32_t room);

/* Hand over as many of `count` bytes as the port takes now; how many. Never waits for the other side. */
uint32_t hal_uart_send(const uint8_t *bytes, uint32_t count);

/* Everything that was handed over has left. */
bool hal_uart_idle(void);

void hal_uart_set_baud(uint32_t baud);

/* An ADS129x, for the source of that name. A transfer holds chip select; `in` may be NULL. */
void hal_ads_reset(void); /* pulse its reset line */
void hal_ads_transfer(const uint8_t *out, uint8_t *in, uint32_t count);
uint32_t hal_ads_conversions(void); /* falling edges of DRDY since power-up, modulo 2^32; may be counted in an interrupt */

/* The microcontroller's own converter, for the source `adc`: 12 bits, unsigned. */
uint16_t hal_adc_read(uint32_t channel);

/* Names the board, for the info frame; short. */
extern const char hal_board[];

#endif
