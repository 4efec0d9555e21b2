import java.io.*;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** For deploy/examples/check: makes the topics and fills them with the records on standard input (`fill`), or removes them (`remove`). */
public class Records {
    public static void main(String[] args) throws Exception {
        var prefix = System.getenv("TOPIC_PREFIX");
        var settings = Map.<String, Object>of("bootstrap.servers", System.getenv("KAFKA"), "acks", "all", "compression.type", "lz4");
        try (var admin = Admin.create(Map.of("bootstrap.servers", System.getenv("KAFKA")))) {
            if (args[0].equals("remove")) {
                var mine = admin.listTopics().names().get().stream().filter(name -> !prefix.isEmpty() && name.startsWith(prefix)).toList();
                admin.deleteTopics(mine).all().get();
                return;
            }
            var lines = new BufferedReader(new InputStreamReader(System.in)).lines().map(line -> line.split("\t")).toList();
            var topics = lines.stream().map(line -> prefix + line[0]).distinct().toList();
            admin.createTopics(topics.stream().map(name -> new NewTopic(name, 12, (short) 1)).toList()).all().get();
            try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
                var hex = HexFormat.of();
                for (var line : lines) producer.send(new ProducerRecord<>(prefix + line[0], hex.parseHex(line[1]), hex.parseHex(line[2]))).get();
            }
            System.out.println(lines.size() + " records in " + topics.size() + " topics");
        }
    }
}
