// SPDX-License-Identifier: Apache-2.0
// A driver that sends headers without sense (virtio 1.3, 5.1.6.2.1 Driver Requirements: Packet Transmission),
// frames of wrong sizes, receive buffers that are too small, and commands that are none (5.1.6.5).
#include "guest-tests/freestanding/hostile.h"
#include "guest-tests/freestanding/runtime.h"
#include "guest-tests/freestanding/virtio_net_uapi.h"

namespace guest {
namespace {

constexpr std::uint32_t kHeaderBytes = sizeof(virtio_net_hdr_v1);
constexpr std::uint16_t kNext = 1;
constexpr std::uint16_t kWrite = 2;
constexpr unsigned kHeaders = 64;  // batches of as many as the queue has

constexpr std::uint64_t feature(unsigned number) {
  return std::uint64_t{1} << number;
}

std::uint32_t random_word() {
  static std::uint32_t state = 12345;
  state = state * 1'664'525 + 1'013'904'223;
  return state >> 8;
}

/// Random bytes in all header fields, some of them near what is right.
void write_header(std::uintptr_t at) {
  auto& header = *reinterpret_cast<virtio_net_hdr_v1*>(at);
  header.flags =
      static_cast<std::uint8_t>(random_word() % 3 == 0 ? random_word() : VIRTIO_NET_HDR_F_NEEDS_CSUM);
  header.gso_type = static_cast<std::uint8_t>(random_word() % 4 == 0 ? random_word() : random_word() % 6);
  header.hdr_len = static_cast<std::uint16_t>(random_word());
  header.gso_size = static_cast<std::uint16_t>(random_word() % 2 == 0 ? random_word() : 1448);
  header.csum_start = static_cast<std::uint16_t>(random_word() % 2 == 0 ? random_word() : 34);
  header.csum_offset = static_cast<std::uint16_t>(random_word() % 2 == 0 ? random_word() : 16);
  header.num_buffers = static_cast<std::uint16_t>(random_word());
}

void attack_headers(Attacker& attacker) {
  attacker.begin();
  PolledQueue& queue = attacker.driver().transmit();
  for (unsigned batch = 0; batch + 1 < kHeaders; ++batch) {
    for (std::uint16_t head = 0; head < PolledQueue::kQueueSize; ++head) {
      write_header(Attacker::buffer(head));
      queue.add(head, Attacker::buffer(head), kHeaderBytes + 14 + random_word() % 2000, false);
    }
    attacker.driver().kick(1);
    std::uint16_t head = 0;
    std::uint32_t bytes = 0;
    while (queue.used_index != queue.avail_index) {
      queue.take_used(head, bytes);
    }
  }
  queue.add(0, Attacker::buffer(0), kHeaderBytes + 60, false);
  attacker.judge("random headers", 1);
}

void attack_sizes(Attacker& attacker) {
  PolledQueue& queue = attacker.driver().transmit();
  attacker.begin();
  for (std::uint16_t head = 0; head < PolledQueue::kQueueSize; ++head) {
    queue.add(head, Attacker::buffer(0), head, false);
  }
  attacker.judge("frames of 0 to 31 bytes", 1);
  attacker.begin();
  queue.add(0, Attacker::kBuffers, kHeaderBytes + 65550, false);
  queue.add(1, Attacker::kBuffers, kHeaderBytes + 65551, false);
  queue.add(2, Attacker::kBuffers, 0x80'0000, false);
  attacker.judge("frames that are larger than any", 1);
  attacker.begin();
  PolledQueue& receive = attacker.driver().receive();
  for (std::uint16_t head = 0; head < kHeaderBytes; ++head) {
    receive.add(head, Attacker::buffer(head), head, head % 2 == 0);
  }
  attacker.driver().kick(0);
  attacker.judge_recovery("receive buffers that are smaller than a header");
}

/// One command: class, command and data, with room for the answer.
void command(Attacker& attacker, const char* name, std::uint32_t bytes, std::uint64_t words,
             std::uint16_t answer_flags = kWrite, std::uint32_t answer_bytes = 1) {
  attacker.begin();
  PolledQueue& queue = attacker.driver().control();
  write_register<std::uint64_t>(Attacker::buffer(0), words);
  queue.descriptors[1] = {Attacker::buffer(1), answer_bytes, answer_flags, 0};
  Attacker::add(queue, 0, {Attacker::buffer(0), bytes, kNext, 1});
  attacker.judge(name, 2, 1);
}

void attack_commands(Attacker& attacker) {
  command(attacker, "a command of no bytes", 0, 0);
  command(attacker, "a command of one byte", 1, 0);
  command(attacker, "an unknown class", 8, 0xFFFF);
  command(attacker, "a mode without its byte", 2, 0);
  command(attacker, "a table that is longer than its data", 8, 0xFFFF'FFFF'0001);
  command(attacker, "queue pairs that there are not", 4, 0xFFFF'0004);
  command(attacker, "no room for the answer", 8, 0, kWrite, 0);
  command(attacker, "an answer that is read-only", 8, 0, 0);
  command(attacker, "a huge command", 0x200'0000, 0x0001);
}

}  // namespace

void run_guest() {
  plan(13);
  Attacker attacker(feature(VIRTIO_NET_F_CSUM) | feature(VIRTIO_NET_F_HOST_TSO4) |
                    feature(VIRTIO_NET_F_HOST_TSO6) | feature(VIRTIO_NET_F_CTRL_VQ) |
                    feature(VIRTIO_NET_F_CTRL_RX) | feature(VIRTIO_NET_F_CTRL_MAC_ADDR));
  attack_headers(attacker);
  attack_sizes(attacker);
  attack_commands(attacker);
}

}  // namespace guest
