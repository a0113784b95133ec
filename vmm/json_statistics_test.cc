// SPDX-License-Identifier: Apache-2.0
#include "vmm/json_statistics.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "vmm/json_report.h"

namespace tapir::vmm {
namespace {

using Json = nlohmann::json;

/// Counters of one pair, each with a number of its own.
struct Counted {
  Counted() {
    std::uint64_t number = 100;
    for (virtio::NetQueueCounters* queue : {&device.receive, &device.transmit, &device.control}) {
      for (Counter* counter :
           {&queue->frames, &queue->bytes, &queue->dropped, &queue->bad_length, &queue->bad_header,
            &queue->filtered, &queue->bad_chains, &queue->starved, &queue->kicks, &queue->notifications}) {
        counter->add(number++);
      }
      number = number / 100 * 100 + 100;
    }
    for (Counter* counter :
         {&host.receive_short, &host.receive_too_long, &host.receive_unread, &host.held_frames,
          &host.transmit_dropped, &host.transmit_full, &host.receive_batches, &host.transmit_batches,
          &host.mode_switches, &host.syscalls, &host.ring_calls, &host.waits}) {
      counter->add(number++);
    }
  }
  virtio::NetQueuePair::Counters device;
  net::FrameIoCounters host;
};

NicStatistics nic_of(const Counted& counted) {
  NicStatistics nic;
  nic.name = "eth";
  nic.peer = "n0";
  nic.interface = "t0";
  nic.mac = *net::MacAddress::parse("52:54:00:12:34:56");
  nic.pairs = {{&counted.device, &counted.host}};
  return nic;
}

TEST(JsonStatistics, AreOneObjectOnOneLine) {
  const std::string none = json_statistics({});
  EXPECT_EQ(none, R"({"nics":[]})");
  const Counted counted;
  const std::vector<NicStatistics> nics{nic_of(counted), nic_of(counted)};
  const std::string text = json_statistics(nics);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(Json::parse(text)["nics"].size(), 2U);
}

TEST(JsonStatistics, AreInTheReportOfARun) {
  const Counted counted;
  RunReport report;
  report.nics = {nic_of(counted)};
  EXPECT_EQ(Json::parse(report_text(report))["nics"], Json::parse(json_statistics(report.nics))["nics"]);
}

TEST(JsonStatistics, NameTheNicAndItsPeer) {
  const Counted counted;
  NicStatistics nic = nic_of(counted);
  nic.link_up = false;
  const Json object = Json::parse(json_statistics({&nic, 1}))["nics"][0];
  EXPECT_EQ(object["nic"], "eth");
  EXPECT_EQ(object["peer"], "n0");
  EXPECT_EQ(object["interface"], "t0");
  EXPECT_EQ(object["mac"], "52:54:00:12:34:56");
  EXPECT_EQ(object["link"], "down");
}

TEST(JsonStatistics, HaveEveryCounterOfAPairInItsPlace) {
  const Counted counted;
  const NicStatistics nic = nic_of(counted);
  const Json object = Json::parse(json_statistics({&nic, 1}))["nics"][0];
  const Json pair = object["queues"][0];
  const Json receive = pair["receive"];
  EXPECT_EQ(pair["pair"], 0);
  EXPECT_EQ(receive["frames"], 100);
  EXPECT_EQ(receive["bytes"], 101);
  EXPECT_EQ(receive["dropped"], Json::parse(R"({"length":103,"header":104,"filter":105,"too_short":400,
                                                "too_long":401,"unread":402})"));
  EXPECT_EQ(receive["bad_chains"], 106);
  EXPECT_EQ(receive["no_buffers"], 107);
  EXPECT_EQ(receive["kicks"], 108);
  EXPECT_EQ(receive["interrupts"], 109);
  EXPECT_EQ(receive["held"], 403);
  EXPECT_EQ(receive["batches"], 406);
  EXPECT_EQ(receive["mode_switches"], 408);
  const Json transmit = pair["transmit"];
  EXPECT_EQ(transmit["frames"], 200);
  EXPECT_EQ(transmit["dropped"], Json::parse(R"({"length":203,"header":204,"refused":404})"));
  EXPECT_EQ(transmit["full"], 405);
  EXPECT_EQ(transmit["batches"], 407);
  EXPECT_EQ(pair["system_calls"], 409);
  EXPECT_EQ(pair["ring_calls"], 410);
  EXPECT_EQ(pair["waits"], 411);
  EXPECT_EQ(object["control"],
            Json::parse(R"({"commands":300,"refused":302,"bad_chains":306,"kicks":308,"interrupts":309})"));
}

TEST(JsonStatistics, CountErrorsByClass) {
  Counted counted;
  count_error(counted.host.write_errors, net::FrameErrorClass::kInvalid);
  count_error(counted.host.write_errors, net::FrameErrorClass::kOther);
  count_error(counted.host.read_errors, net::FrameErrorClass::kLinkDown);
  const NicStatistics nic = nic_of(counted);
  const Json pair = Json::parse(json_statistics({&nic, 1}))["nics"][0]["queues"][0];
  EXPECT_EQ(
      pair["transmit"]["errors"],
      Json::parse(R"({"invalid":1,"too_long":0,"link_down":0,"no_memory":0,"fault":0,"busy":0,"partial":0,
                            "gone":0,"other":1})"));
  EXPECT_EQ(pair["receive"]["errors"]["link_down"], 1);
  EXPECT_EQ(pair["receive"]["errors"]["invalid"], 0);
}

TEST(JsonStatistics, ListEveryQueuePair) {
  const Counted first;
  const Counted second;
  NicStatistics nic = nic_of(first);
  nic.pairs.push_back({&second.device, &second.host});
  const Json object = Json::parse(json_statistics({&nic, 1}))["nics"][0];
  ASSERT_EQ(object["queues"].size(), 2U);
  EXPECT_EQ(object["queues"][1]["pair"], 1);
}

TEST(JsonStatistics, ReplaceBytesThatAreNoText) {
  NicStatistics nic;
  nic.name = "\xFF\xFE";
  EXPECT_FALSE(Json::parse(json_statistics({&nic, 1}))["nics"][0]["nic"].get<std::string>().empty());
}

}  // namespace
}  // namespace tapir::vmm
