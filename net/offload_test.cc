// SPDX-License-Identifier: Apache-2.0
#include "net/offload.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "net/vnet_header.h"

namespace tapir::net {
namespace {

constexpr std::uint64_t bits(std::initializer_list<unsigned> numbers) {
  std::uint64_t word = 0;
  for (const unsigned number : numbers) {
    word |= std::uint64_t{1} << number;
  }
  return word;
}

constexpr std::uint64_t kHostTcp =
    bits({VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN});

struct ConsistentRow {
  const char* name;
  unsigned given;
  unsigned expected;
};

TEST(ConsistentTunOffloads, FollowsTheKernelsRules) {
  constexpr unsigned kUso = TUN_F_USO4 | TUN_F_USO6;
  constexpr std::array<ConsistentRow, 12> kRows{{
      {"nothing", 0, 0},
      {"everything", kAllTunOffloads, kAllTunOffloads},
      {"before USO", kTunOffloadsBeforeUso, kTunOffloadsBeforeUso},
      {"CSUM alone", TUN_F_CSUM, TUN_F_CSUM},
      {"all without CSUM", kAllTunOffloads & ~unsigned{TUN_F_CSUM}, 0},
      {"ECN without TSO", TUN_F_CSUM | TUN_F_TSO_ECN, TUN_F_CSUM},
      {"ECN with TSO4", TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN},
      {"ECN with TSO6", TUN_F_CSUM | TUN_F_TSO6 | TUN_F_TSO_ECN, TUN_F_CSUM | TUN_F_TSO6 | TUN_F_TSO_ECN},
      {"USO4 alone", TUN_F_CSUM | TUN_F_USO4, TUN_F_CSUM},
      {"USO6 alone", TUN_F_CSUM | TUN_F_TSO4 | TUN_F_USO6, TUN_F_CSUM | TUN_F_TSO4},
      {"USO without TSO", TUN_F_CSUM | kUso, TUN_F_CSUM | kUso},
      {"unknown bits", TUN_F_CSUM | TUN_F_UFO | 0x8000U, TUN_F_CSUM},
  }};
  for (const ConsistentRow& row : kRows) {
    EXPECT_EQ(consistent_tun_offloads(row.given), row.expected) << row.name;
  }
}

TEST(OfferedOffloads, NothingWithoutAVnetHeader) {
  EXPECT_EQ(offered_offloads({false, kAllTunOffloads, 1500}), 0U);
}

TEST(OfferedOffloads, FollowWhatTheTapAccepts) {
  struct Row {
    const char* name;
    unsigned accepted;
    std::uint64_t expected;
  };
  constexpr std::uint64_t kGuestTcp = bits(
      {VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN});
  constexpr std::uint64_t kUdp =
      bits({VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6});
  constexpr std::array<Row, 6> kRows{{
      {"a tap that refuses all", 0, kHostTcp},
      {"checksums only", TUN_F_CSUM, kHostTcp | bits({VIRTIO_NET_F_GUEST_CSUM})},
      {"Linux 6.1", kTunOffloadsBeforeUso, kHostTcp | kGuestTcp},
      {"Linux 6.2", kAllTunOffloads, kHostTcp | kGuestTcp | kUdp},
      {"half of USO", kTunOffloadsBeforeUso | TUN_F_USO4, kHostTcp | kGuestTcp},
      {"no TSO6", TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN,
       kHostTcp | bits({VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_ECN})},
  }};
  for (const Row& row : kRows) {
    EXPECT_EQ(offered_offloads({true, row.accepted, 0}), row.expected) << row.name;
  }
}

TEST(TunOffloadsFor, FollowWhatTheDriverAccepted) {
  struct Row {
    const char* name;
    std::uint64_t driver;
    unsigned expected;
  };
  constexpr std::array<Row, 9> kRows{{
      {"nothing", 0, 0},
      {"transmit side only", kHostTcp | bits({VIRTIO_NET_F_HOST_USO}), 0},
      {"checksums", bits({VIRTIO_NET_F_GUEST_CSUM}), TUN_F_CSUM},
      {"TSO4", bits({VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4}), TUN_F_CSUM | TUN_F_TSO4},
      {"TSO6 and ECN", bits({VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN}),
       TUN_F_CSUM | TUN_F_TSO6 | TUN_F_TSO_ECN},
      {"ECN without TSO", bits({VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_ECN}), TUN_F_CSUM},
      {"TSO without checksums", bits({VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6}), 0},
      {"USO4 alone", bits({VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_USO4}), TUN_F_CSUM},
      {"both USO", bits({VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6}),
       TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6},
  }};
  for (const Row& row : kRows) {
    EXPECT_EQ(tun_offloads_for(row.driver), row.expected) << row.name;
  }
}

TEST(TunOffloadsFor, GivesBackTheWholeWordForADriverThatTakesAll) {
  EXPECT_EQ(tun_offloads_for(offered_offloads({true, kAllTunOffloads, 0})), kAllTunOffloads);
  EXPECT_EQ(tun_offloads_for(offered_offloads({true, kTunOffloadsBeforeUso, 0})), kTunOffloadsBeforeUso);
}

TEST(CopyVnetHeader, GathersItFromAnySplit) {
  std::array<std::byte, 20> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(i + 1);
  }
  for (std::size_t cut = 0; cut <= kVnetHeaderBytes; ++cut) {
    const std::array<iovec, 3> iov{iovec{bytes.data(), cut}, iovec{nullptr, 0},
                                   iovec{bytes.data() + cut, bytes.size() - cut}};
    const auto header = copy_vnet_header(iov);
    ASSERT_TRUE(header) << cut;
    EXPECT_EQ(header->flags, 1);
    EXPECT_EQ(header->gso_type, 2);
    EXPECT_EQ(header->hdr_len, 0x0403);
    EXPECT_EQ(header->num_buffers, 0x0C0B);
  }
}

TEST(CopyVnetHeader, IsNothingForFewerBytes) {
  std::array<std::byte, 11> bytes{};
  const std::array<iovec, 2> iov{iovec{bytes.data(), 5}, iovec{bytes.data() + 5, 6}};
  EXPECT_FALSE(copy_vnet_header(iov));
  EXPECT_FALSE(copy_vnet_header({}));
}

}  // namespace
}  // namespace tapir::net
