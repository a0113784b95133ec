// SPDX-License-Identifier: Apache-2.0
// What tapir says of a header that a guest sends, against what the kernel's tap says of it.
// TAPIR_TEST_HEADERS is how many headers are tried; `tools/dev soak` asks for a million.
#include <gtest/gtest.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "net/offload.h"
#include "net/tap.h"
#include "net/testing/network_namespace.h"
#include "virtio/net_features.h"
#include "virtio/testing/net_device_fixture.h"

namespace tapir::virtio {
namespace {

constexpr std::uint8_t kNeedsCsum = VIRTIO_NET_HDR_F_NEEDS_CSUM;
constexpr unsigned kEcn = VIRTIO_NET_HDR_GSO_ECN;

enum class Kind : std::uint8_t { kTcp4, kUdp4, kTcp6, kUdp6, kOther };

/// Ethernet, IP and the beginning of a transport header, with addresses that lead nowhere.
std::vector<std::byte> make_frame(Kind kind, std::size_t bytes) {
  std::vector<std::byte> frame(bytes);
  const auto put = [&frame](std::size_t at, std::initializer_list<unsigned> values) {
    for (const unsigned value : values) {
      if (at < frame.size()) {
        frame[at++] = static_cast<std::byte>(value);
      }
    }
  };
  put(0, {0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1});
  const auto ip_bytes = static_cast<unsigned>(bytes - 14);
  if (kind == Kind::kTcp4 || kind == Kind::kUdp4) {
    put(12, {0x08, 0x00, 0x45, 0, ip_bytes >> 8U & 0xFF, ip_bytes & 0xFF, 0, 0, 0, 0, 64});
    put(23, {kind == Kind::kTcp4 ? 6U : 17U, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2});
    put(46, {0x50, 0x10});
  } else if (kind == Kind::kTcp6 || kind == Kind::kUdp6) {
    put(12, {0x86, 0xDD, 0x60, 0, 0, 0, (ip_bytes - 40) >> 8U & 0xFF, (ip_bytes - 40) & 0xFF});
    put(20, {kind == Kind::kTcp6 ? 6U : 17U, 64, 0xFD});
    put(38, {0xFD});
    put(66, {0x50, 0x10});
  } else {
    put(12, {0x88, 0xB5});
  }
  return frame;
}

/// Whether the frame is what its gso_type says.
bool matches(Kind kind, std::uint8_t gso_type) {
  switch (gso_type & ~kEcn) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
      return kind == Kind::kTcp4;
    case VIRTIO_NET_HDR_GSO_TCPV6:
      return kind == Kind::kTcp6;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
      return kind == Kind::kUdp4 || kind == Kind::kUdp6;
    default:
      return true;
  }
}

/// How many datagrams a frame may become changed between kernels (UDP_MAX_SEGMENTS), so the kernel has the
/// say.
bool is_too_many_datagrams(const net::VnetHeader& header, std::size_t bytes) {
  constexpr std::size_t kMaxSegments = 64;  // the lowest of them
  constexpr std::size_t kUdpHeaderBytes = 8;
  return header.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4 &&
         bytes - header.csum_start - kUdpHeaderBytes > header.gso_size * kMaxSegments;
}

/// What virtio 1.3, 5.1.6.2.1 Driver Requirements: Packet Transmission forbids, and a kernel may still take.
bool is_forbidden(const net::VnetHeader& header) {
  const bool gso = header.gso_type != VIRTIO_NET_HDR_GSO_NONE;
  const unsigned type = header.gso_type & ~kEcn;
  const bool tcp = type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6;
  const bool known = tcp || header.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4;
  const bool csum = (header.flags & kNeedsCsum) != 0;
  // The checksum field is at one place in each transport header, and no IP header is shorter than 20 or 40.
  const unsigned earliest = type == VIRTIO_NET_HDR_GSO_TCPV6 ? 54 : gso ? 34 : 14;
  return (gso && (!known || !csum)) || (csum && header.csum_start < earliest) ||
         (gso && header.csum_offset != (tcp ? 16 : 6)) || (gso && header.gso_size == 0);
}

class Generator {
 public:
  /// Fields that often fit together, and often do not.
  net::VnetHeader header() {
    constexpr std::array<std::uint8_t, 10> kTypes{0, 0, 1, 4, 5, 0x81, 0x84, 0x85, 3, 2};
    constexpr std::array<std::uint16_t, 10> kStarts{34, 34, 54, 54, 14, 20, 0, 13, 33, 53};
    constexpr std::array<std::uint16_t, 6> kOffsets{16, 16, 6, 6, 0, 17};
    constexpr std::array<std::uint16_t, 8> kSizes{0, 1, 100, 536, 1448, 9000, 0xFFFE, 0xFFFF};
    constexpr std::array<std::uint16_t, 6> kLengths{0, 54, 74, 42, 1000, 0xFFFF};
    net::VnetHeader header = testing::make_header(random_() % 4 == 0 ? byte() : kNeedsCsum,
                                                  random_() % 8 == 0 ? byte() : kTypes[random_() % 10],
                                                  random_() % 8 == 0 ? word() : kSizes[random_() % 8],
                                                  random_() % 8 == 0 ? word() : kStarts[random_() % 10],
                                                  random_() % 8 == 0 ? word() : kOffsets[random_() % 6],
                                                  random_() % 8 == 0 ? word() : kLengths[random_() % 6]);
    header.num_buffers = word();
    return header;
  }
  Kind kind() { return static_cast<Kind>(random_() % 5); }
  std::size_t frame_bytes() { return random_() % 4 == 0 ? 14 + random_() % 80 : 100 + random_() % 4000; }

 private:
  std::uint8_t byte() { return static_cast<std::uint8_t>(random_()); }
  std::uint16_t word() {
    return static_cast<std::uint16_t>(random_() % 2 == 0 ? random_() : random_() % 128);
  }

  std::mt19937 random_{11};
};

std::string describe(const net::VnetHeader& header, Kind kind, std::size_t bytes) {
  std::string text =
      "kind " + std::to_string(static_cast<unsigned>(kind)) + ", " + std::to_string(bytes) + " bytes:";
  for (const unsigned field :
       {unsigned{header.flags}, unsigned{header.gso_type}, unsigned{header.hdr_len},
        unsigned{header.gso_size}, unsigned{header.csum_start}, unsigned{header.csum_offset}}) {
    text += " " + std::to_string(field);
  }
  return text;
}

bool kernel_takes(int tap, net::VnetHeader header, std::vector<std::byte>& frame) {
  const std::array<iovec, 2> pieces{iovec{&header, sizeof header}, iovec{frame.data(), frame.size()}};
  const ssize_t written = ::writev(tap, pieces.data(), 2);
  EXPECT_TRUE(written > 0 || errno == EINVAL) << std::strerror(errno);
  return written > 0;
}

// NET-10, NET-11, C95-C97: what tapir passes on, the kernel takes, unless the frame is not what the header
// says; and what the kernel would take and tapir does not is forbidden to drivers.
TEST(TransmitHeaderOnTap, TapirAndTheKernelAgree) {
  TAPIR_ENTER_NETWORK_NAMESPACE();
  auto tap = net::Tap::open("tap0", {.vnet_header = true});
  ASSERT_TRUE(tap) << tap.error().message();
  const std::uint64_t features = offered_net_features({true, net::kAllTunOffloads, 0});
  const char* const asked = std::getenv("TAPIR_TEST_HEADERS");
  const unsigned long count = asked != nullptr ? std::strtoul(asked, nullptr, 10) : 20'000;
  Generator generator;
  unsigned long passed = 0;
  unsigned long segmented = 0;
  for (unsigned long i = 0; i < count; ++i) {
    const net::VnetHeader header = generator.header();
    const Kind kind = generator.kind();
    std::vector<std::byte> frame = make_frame(kind, generator.frame_bytes());
    net::VnetHeader clean = header;
    if (sanitise_transmit_header(clean, frame.size(), features)) {
      ++passed;
      segmented += clean.gso_type != VIRTIO_NET_HDR_GSO_NONE ? 1 : 0;
      ASSERT_TRUE(kernel_takes(tap->fd(), clean, frame) || !matches(kind, clean.gso_type) ||
                  is_too_many_datagrams(clean, frame.size()))
          << describe(clean, kind, frame.size());
    } else {
      ASSERT_TRUE(is_forbidden(header) || !kernel_takes(tap->fd(), header, frame))
          << describe(header, kind, frame.size());
    }
  }
  std::printf("%lu headers, %lu passed, %lu of them with segmentation\n", count, passed, segmented);
  EXPECT_GT(passed, count / 50);
  EXPECT_GT(segmented, count / 500);
}

}  // namespace
}  // namespace tapir::virtio
