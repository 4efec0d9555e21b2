import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.main.Main;

/** Accepts whatever Camel's MLLP component hands over, and keeps nothing. */
public class Receive {
    public static void main(String[] args) throws Exception {
        Main main = new Main();
        main.configure().addRoutesBuilder(new RouteBuilder() {
            @Override
            public void configure() {
                from("mllp:127.0.0.1:" + args[0] + "?autoAck=true&maxConcurrentConsumers=64").routeId("feed").stop();
            }
        });
        main.start();
        System.out.println("Camel 4.8.0");
        Thread.currentThread().join();
    }
}
