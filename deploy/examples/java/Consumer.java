import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.Descriptors.*;
import com.google.protobuf.*;
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Prints each of Hearthline's events once, a line of JSON each: java -cp 'jars/*' Consumer.java [--once] */
public class Consumer {
    public static void main(String[] args) throws Exception {
        var contracts = Path.of(System.getenv().getOrDefault("CONTRACTS", "../../../proto"));
        var json = new ObjectMapper();
        var catalogue = json.readTree(contracts.resolve("topics.json").toFile());
        var files = new LinkedHashMap<String, FileDescriptor>();
        for (var file : FileDescriptorSet.parseFrom(Files.readAllBytes(contracts.resolve("released.binpb"))).getFileList())
            files.put(file.getName(), FileDescriptor.buildFrom(file, file.getDependencyList().stream().map(files::get).toArray(FileDescriptor[]::new)));
        var prefix = System.getenv().getOrDefault("TOPIC_PREFIX", "");
        var message = new HashMap<String, Descriptor>();
        for (var topic : catalogue.get("topics"))
            for (var file : files.values())
                for (var type : file.getMessageTypes())
                    if (type.getFullName().equals(topic.get("message").asText())) message.put(prefix + topic.get("name").asText(), type);

        var consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", System.getenv().getOrDefault("KAFKA", "127.0.0.1:19392"),
            "group.id", System.getenv().getOrDefault("GROUP", "example-java"), "auto.offset.reset", "earliest", "enable.auto.commit", "false"),
            new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(message.keySet());
        // Yours belong in your database, in the transaction that applies the event; then a restart repeats nothing either.
        var last = new HashMap<String, Long>();
        var waiting = new HashSet<String>();
        for (var records = consumer.poll(Duration.ofSeconds(10)); ; records = consumer.poll(Duration.ofSeconds(10))) {
            if (records.isEmpty() && List.of(args).contains("--once")) break;
            for (var record : records) {
                var type = message.get(record.topic());
                var event = DynamicMessage.parseFrom(type, record.value());
                var envelope = (Message) event.getField(type.findFieldByName("envelope"));
                var stream = HexFormat.of().formatHex(((ByteString) field(envelope, "stream_id")).toByteArray());
                var version = (long) field(envelope, "stream_version");
                var least = Integer.toUnsignedLong((int) field(envelope, "least_reader_revision"));
                var key = record.topic() + stream;
                if (version <= last.getOrDefault(key, 0L)) continue; // delivered again
                var fact = event.getOneofFieldDescriptor(type.getOneofs().stream().filter(one -> one.getName().equals("fact")).findFirst().get());
                var why = least > catalogue.get("reader_revision").asLong() ? "needs reader revision " + least
                    : fact == null ? "unknown fact" : waiting.contains(key) ? "waits for an earlier event" : null;
                var line = new LinkedHashMap<String, Object>();
                line.put("topic", record.topic().substring(prefix.length()));
                line.put("stream", stream);
                line.put("version", version);
                line.put("fact", why == null ? fact.getName() : null);
                if (why != null) {
                    waiting.add(key);
                    line.put("set_aside", why);
                }
                System.out.println(json.writeValueAsString(line));
                last.put(key, version);
            }
        }
        consumer.close();
    }

    static Object field(Message of, String name) {
        return of.getField(of.getDescriptorForType().findFieldByName(name));
    }
}
