// SPDX-License-Identifier: Apache-2.0
// A second CPU rewrites the transmitq's descriptors all the time, while this one makes them available, kicks
// and resets the device at any moment (virtio 1.3, 3.3.1 Driver Requirements: Device Cleanup).
#include "guest-tests/freestanding/hostile.h"
#include "guest-tests/freestanding/runtime.h"
#include "guest-tests/freestanding/second_cpu.h"

namespace guest {
namespace {

constexpr unsigned kRounds = 60;
constexpr std::uintptr_t kPage = 4096;

/// Makes the whole table available a few times, as it then is, each time when all came back, and does not
/// wait for the last ones.
void send_whatever_is_there(VirtioNetDriver& driver, unsigned round) {
  PolledQueue& queue = driver.transmit();
  for (unsigned times = 0; times < 1 + round % 4; ++times) {
    std::uint16_t used = 0;
    std::uint32_t bytes = 0;
    for (unsigned tries = 0; tries < 20'000 && queue.used_index != queue.avail_index; ++tries) {
      queue.take_used(used, bytes);
    }
    for (std::uint16_t head = 0; head < PolledQueue::kQueueSize; ++head) {
      queue.add(head, Attacker::buffer(head), 12 + 60 + 100 * times, false);
    }
    driver.kick(1);
  }
  for (unsigned i = 0; i < round % 7; ++i) {
    driver.status();  // an exit to the VMM, which takes some time
  }
}

}  // namespace

void run_guest() {
  plan(3);
  Attacker attacker;
  VirtioNetDriver& driver = attacker.driver();
  driver.place_rings(SecondCpu::kFlipped - 3 * kPage);  // so that the transmitq's descriptors are flipped
  check("the second CPU starts", SecondCpu::start_flipping());
  bool started = true;
  for (unsigned round = 0; round < kRounds; ++round) {
    started = driver.start() && started;
    send_whatever_is_there(driver, round);
  }
  check("the device starts after each reset", started);
  SecondCpu::stop();
  attacker.judge_recovery("the device works when the descriptors are left alone");
}

}  // namespace guest
