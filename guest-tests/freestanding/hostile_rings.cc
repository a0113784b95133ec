// SPDX-License-Identifier: Apache-2.0
// A driver that breaks every rule of virtqueues (virtio 1.3, 2.7 Split Virtqueues), on the transmitq.
#include <initializer_list>

#include "guest-tests/freestanding/hostile.h"
#include "guest-tests/freestanding/runtime.h"

namespace guest {
namespace {

constexpr std::uint16_t kNext = 1;
constexpr std::uint16_t kWrite = 2;
constexpr std::uint16_t kIndirect = 4;
constexpr std::uint8_t kDriverOk = 0xF;  // with all bits before it
constexpr std::uint16_t kSize = PolledQueue::kQueueSize;

/// One chain of one descriptor.
void attack(Attacker& attacker, const char* name, const Descriptor& descriptor) {
  attacker.begin();
  Attacker::add(attacker.driver().transmit(), 0, descriptor);
  attacker.judge(name, 1);
}

void attack_addresses(Attacker& attacker) {
  attack(attacker, "length 0", {Attacker::buffer(0), 0, 0, 0});
  attack(attacker, "length 0 outside RAM", {UINT64_MAX, 0, 0, 0});
  attack(attacker, "the largest length", {Attacker::buffer(0), 0xFFFF'FFFF, 0, 0});
  attack(attacker, "the hole of the address space", {0xC000'0000, 100, 0, 0});
  attack(attacker, "one byte past RAM", {Attacker::kRam - 99, 100, 0, 0});
  attack(attacker, "up to the end of RAM", {Attacker::kRam - 100, 100, 0, 0});
  attack(attacker, "an address that wraps around", {UINT64_MAX - 15, 100, 0, 0});
  attack(attacker, "the device's own registers", {attacker.registers(), 100, 0, 0});
  attack(attacker, "write-only", {Attacker::buffer(0), 100, kWrite, 0});
  attack(attacker, "an indirect table without the feature", {Attacker::buffer(0), 64, kIndirect, 0});
  attack(attacker, "next outside the table", {Attacker::buffer(0), 100, kNext, kSize});
  attack(attacker, "next far outside the table", {Attacker::buffer(0), 100, kNext, 0xFFFF});
  attack(attacker, "next is itself", {Attacker::buffer(0), 100, kNext, 0});
}

void attack_chains(Attacker& attacker) {
  attacker.begin();
  PolledQueue& queue = attacker.driver().transmit();
  queue.descriptors[1] = {Attacker::buffer(1), 8, kNext, 0};
  Attacker::add(queue, 0, {Attacker::buffer(0), 8, kNext, 1});
  attacker.judge("two that name each other", 1);

  attacker.begin();
  queue.descriptors[1] = {Attacker::buffer(1), 100, 0, 0};
  Attacker::add(queue, 0, {Attacker::buffer(0), 100, kWrite | kNext, 1});
  attacker.judge("readable behind writable", 1);

  attacker.begin();
  for (std::uint16_t i = 0; i < kSize; ++i) {
    queue.descriptors[i] = {Attacker::buffer(0), 0xFFFF'FFFF, kNext, static_cast<std::uint16_t>(i + 1)};
  }
  queue.descriptors[kSize - 1].flags = 0;
  Attacker::add_head(queue, 0);
  attacker.judge("the whole table, each of the largest length", 1);
}

void attack_indexes(Attacker& attacker) {
  PolledQueue& queue = attacker.driver().transmit();
  for (const std::uint16_t head : {std::uint16_t{kSize}, std::uint16_t{0x8000}, std::uint16_t{0xFFFF}}) {
    attacker.begin();
    Attacker::add_head(queue, head);
    attacker.judge("a head outside the table", 1);
  }
  for (const std::uint16_t index : {std::uint16_t{kSize + 1}, std::uint16_t{0x8000}, std::uint16_t{0xFFFF}}) {
    attacker.begin();
    queue.avail_index = static_cast<std::uint16_t>(index - 1);
    Attacker::add_head(queue, 0);
    attacker.judge("an index that jumps", 1);
  }
  attacker.begin();
  Attacker::add(queue, 0, {Attacker::buffer(0), 100, 0, 0});
  for (unsigned i = 1; i < kSize; ++i) {
    Attacker::add_head(queue, 0);
  }
  attacker.judge("one head many times", 1);
}

/// Rings that are not in RAM, or misaligned: the device asks for a reset at once. All at one place is
/// nonsense that it need not find out.
void attack_places(Attacker& attacker) {
  const auto place = [&attacker](const char* name, std::uintptr_t descriptors, std::uintptr_t used,
                                 bool possible = false) {
    VirtioNetDriver& driver = attacker.driver();
    const bool agreed = driver.agree();
    driver.give_queue(1, descriptors, Attacker::buffer(1), used);
    driver.set_status(kDriverOk);
    attacker.judge_recovery(name, agreed && (driver.status() == kDriverOk) == possible);
  };
  place("descriptors beyond RAM", Attacker::kRam - 16, Attacker::buffer(2));
  place("a misaligned used ring", Attacker::buffer(0), Attacker::buffer(2) + 2);
  place("a used ring in the device's registers", Attacker::buffer(0), attacker.registers());
  place("all rings at one place", Attacker::buffer(1), Attacker::buffer(1), true);
}

}  // namespace

void run_guest() {
  plan(27);
  Attacker attacker;
  attack_addresses(attacker);
  attack_chains(attacker);
  attack_indexes(attacker);
  attack_places(attacker);
}

}  // namespace guest
