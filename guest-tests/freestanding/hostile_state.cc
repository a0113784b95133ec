// SPDX-License-Identifier: Apache-2.0
// A driver that goes through the device's states in every wrong way (virtio 1.3, 2.1 Device Status Field, 3.1
// Device Initialization), kicks when nothing is to be had, and writes queue registers that it may not.
#include <initializer_list>

#include "guest-tests/freestanding/hostile.h"
#include "guest-tests/freestanding/runtime.h"
#include "guest-tests/freestanding/virtio_net_uapi.h"

namespace guest {
namespace {

constexpr std::uint8_t kSteps[] = {0, 1, 3, 11, 15};

/// Every value over every state that can be reached: no bit but by a reset is cleared.
void write_every_status(Attacker& attacker) {
  VirtioNetDriver& driver = attacker.driver();
  bool kept = true;
  for (const std::uint8_t reached : kSteps) {
    for (unsigned value = 1; value < 256; ++value) {
      if (reached == 15) {
        attacker.begin();
      } else if (reached == 11) {
        driver.agree();
      } else {
        driver.set_status(0);
        driver.set_status(reached);
      }
      const std::uint8_t before = driver.status();
      kept = kept && before == reached;
      driver.set_status(static_cast<std::uint8_t>(value));
      kept = kept && (driver.status() & before) == before;
    }
  }
  attacker.judge_recovery("every status over every other", kept);
}

void kick_early(Attacker& attacker) {
  VirtioNetDriver& driver = attacker.driver();
  driver.set_status(0);
  for (std::uint16_t i = 0; i < 200; ++i) {
    driver.kick(static_cast<std::uint16_t>(i % 2));
  }
  driver.set_status(1);
  driver.kick(1);
  driver.set_status(0x81);
  driver.kick(1);
  attacker.judge_recovery("kicks before there is a driver, and after it failed");
}

void poison_queues(Attacker& attacker) {
  VirtioNetDriver& driver = attacker.driver();
  attacker.begin();
  for (const std::uintptr_t place : {std::uintptr_t{0}, std::uintptr_t{0xFFFF'F000}, attacker.registers()}) {
    driver.give_queue(0, place, place, place);
    driver.give_queue(1, place, place, place);
  }
  PolledQueue& queue = driver.transmit();
  Attacker::add(queue, 0, {Attacker::buffer(0), 100, 0, 0});
  attacker.judge("queue registers are frozen under DRIVER_OK", 1);
}

void reset_often(Attacker& attacker) {
  VirtioNetDriver& driver = attacker.driver();
  for (unsigned i = 0; i < 300; ++i) {
    driver.set_status(0);
  }
  bool started = true;
  for (unsigned i = 0; i < 100; ++i) {
    started = driver.start() && started;
    for (std::uint16_t head = 0; head < PolledQueue::kQueueSize; ++head) {
      driver.receive().add(head, Attacker::buffer(head), Attacker::kBufferBytes, true);
      driver.transmit().add(head, Attacker::buffer(head), 100, false);
    }
    driver.kick(0);
    driver.kick(1);
  }
  attacker.judge_recovery("resets while frames are on their way", started);
}

}  // namespace

void run_guest() {
  plan(4);
  Attacker attacker;
  write_every_status(attacker);
  kick_early(attacker);
  poison_queues(attacker);
  reset_often(attacker);
}

}  // namespace guest
